"""An export under load: every answer compared, memory watched.

    python -m benchmarks.reliability.load --output load.json

Exports a DeepFM of compressed tables, asks it every request once by a single
thread, and then keeps it busy by many, from C (`benchmarks/serve_c`) and from
Python, for `--seconds` and `--requests` or more. Sizes of requests are mixed;
among the ids are negative ones and others out of range. With `--run`, rows of
other runs stay in the output. A row for each run tells

- `requests`, and `wrong`: answers that are not, bit for bit, what one thread
  was answered to a request of that size; any error ends the run;
- `keras`: for each size, the largest difference to Keras's own `predict` in
  batches of that size, 0.0 where all bits are the same;
- `growth`: RssAnon in the last tenth of the run over that in the second tenth,
  less 1, of medians, the first tenth being the warm-up; `peak_growth`: the
  largest that came after the warm-up.

Fails where an answer is wrong or memory grows by more than `MAX_GROWTH`.
"""

import dataclasses
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from absl import app, flags

import mec_tf
from benchmarks.environment import read_rows, write_rows
from benchmarks.serve_c import build, write_answers, write_requests
from benchmarks.serving import Setup, make_model

FLAGS = flags.FLAGS
ROOT = pathlib.Path(__file__).parents[2]
CLIENT = "benchmarks.reliability.load_client"
SHARES = {1: 8, 3: 4, 8: 3, 64: 1}  # of requests of so many rows
MAX_GROWTH = 0.02
RUNS = ("fused:c", "fused:python", "folded:c")
# Of ids: the first three have no row of their own in any table.
STRANGE = [-1, -(2**31), 2**31 - 1]


@dataclasses.dataclass(frozen=True)
class Load:
    """What is sent.

    Args:
        threads: that send requests.
        seconds: of a run.
        requests: that a run answers, or more.
        rows: different examples in them.
        strange: share of ids that are out of range.
    """

    threads: int = 16
    seconds: float = 600.0
    requests: int = 1_000_000
    rows: int = 1920
    strange: float = 0.05


def define_flags() -> None:
    plain = Load()
    flags.DEFINE_integer("threads", plain.threads, "That send requests.")
    flags.DEFINE_float("seconds", plain.seconds, "Of a run.")
    flags.DEFINE_integer("requests", plain.requests, "Of a run, at least.")
    flags.DEFINE_integer("table_bytes", 20_000_000, "All tables, as float32.")
    flags.DEFINE_multi_enum("run", RUNS, RUNS, "Export and client.")
    flags.DEFINE_string("output", None, "Result file, JSON.", required=True)


def small_model(table_bytes: int) -> Setup:
    """26 fields; small enough that requests, not products, are the load."""
    return Setup(table_bytes=table_bytes, dim=16, hidden=(64, 64))


def draw_requests(
    names: Sequence[str], table_rows: int, load: Load
) -> dict[str, np.ndarray]:
    """`{input: int32 [rows]}`, some of them out of range."""
    rng = np.random.default_rng(0)
    shape = (len(names), load.rows)
    ids = rng.integers(0, table_rows, shape, np.int64)
    strange = rng.choice([*STRANGE, table_rows], shape)
    ids = np.where(rng.random(shape) < load.strange, strange, ids)
    return dict(zip(names, ids.astype(np.int32), strict=True))


def differences(
    model: tf.keras.Model,
    inputs: dict[str, np.ndarray],
    answers: dict[int, np.ndarray],
) -> dict[str, float]:
    """Largest difference to Keras's `predict`, for each size."""
    found = {}
    for size, expected in answers.items():
        data = tf.data.Dataset.from_tensor_slices(inputs)
        batches = data.batch(size, drop_remainder=True)
        values = model.predict(batches, verbose=0)
        found[str(size)] = float(np.abs(values - expected).max())
    return found


class Export:
    """An exported model, its requests, and the answers of a single thread."""

    def __init__(
        self, folder: pathlib.Path, setup: Setup, load: Load, fold: bool
    ):
        model = make_model("deepfm", "compressed", setup)
        report = mec_tf.export.save(model, folder / "model", fold=fold)
        self.folder, self.path, self.load = folder, report.path, load
        self.inputs = draw_requests(setup.names, setup.rows("deepfm"), load)
        np.savez(folder / "requests.npz", **self.inputs)
        self._run_client("--write", ",".join(map(str, SHARES)))
        found = np.load(folder / "answers.npz")
        self.answers = {int(size): values for size, values in found.items()}
        self.keras = differences(model, self.inputs, self.answers)

    def command(self, *options: str) -> list[str]:
        """The Python client's."""
        command = [sys.executable, "-m", CLIENT, "--model", self.path]
        for name in ("requests", "answers"):
            command += [f"--{name}", str(self.folder / f"{name}.npz")]
        return [*command, *options]

    def _run_client(self, *options: str) -> None:
        run(self.command(*options))

    def run_python(self) -> list[dict[str, Any]]:
        shares = ",".join(f"{size}:{part}" for size, part in SHARES.items())
        load = ["--threads", str(self.load.threads)]
        load += ["--seconds", str(self.load.seconds)]
        load += ["--least", str(self.load.requests)]
        return run(self.command("--shares", shares, *load))

    def run_c(self, program: pathlib.Path) -> list[dict[str, Any]]:
        requests = write_requests(
            self.folder / "c", self.path, self.inputs, "ids"
        )
        sizes = write_answers(self.folder / "c", self.answers, SHARES)
        command = [program, self.path, requests, "--load", sizes]
        load = self.load
        command += ["--threads", load.threads, "--seconds", load.seconds]
        command += ["--requests", load.requests]
        return run([str(part) for part in command])


def run(command: list[str]) -> list[dict[str, Any]]:
    """The JSON lines that a command prints.

    Raises:
        RuntimeError: if it fails.
    """
    path = os.pathsep.join(p for p in [str(ROOT), *sys.path] if p)
    done = subprocess.run(
        command,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    lines = [
        json.loads(line)
        for line in done.stdout.splitlines()
        if line.startswith("{")
    ]
    wrong = lines[-1]["wrong"] if lines else 0
    if done.returncode and not wrong:
        raise RuntimeError(f"{command} failed:\n{done.stderr}")
    return lines


def growth(samples: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """How memory grew after the first tenth of a run."""
    tenth = samples[-1]["seconds"] / 10

    def of(first: float, last: float) -> list[int]:
        return [
            sample["resident_bytes"]
            for sample in samples
            if first * tenth <= sample["seconds"] <= last * tenth
        ]

    warm = statistics.median(of(1, 2))
    last = statistics.median(of(9, 10))
    return {
        "resident_bytes": int(last),
        "growth": round(last / warm - 1, 5),
        "peak_growth": round(max(of(1, 10)) / warm - 1, 5),
    }


def summary(samples: Sequence[dict[str, Any]]) -> dict[str, Any]:
    end = samples[-1]
    return {
        "requests": end["requests"],
        "wrong": end["wrong"],
        "seconds": end["seconds"],
        "per_second": round(end["requests"] / end["seconds"], 1),
        **growth(samples),
    }


def measure(
    runs: Sequence[str], setup: Setup, load: Load, folder: pathlib.Path
) -> list[dict[str, Any]]:
    """A row for each of `runs`, "EXPORT:CLIENT"."""
    program = build(folder)
    exports: dict[str, Export] = {}
    rows = []
    for kind, client in (name.split(":") for name in runs):
        if kind not in exports:
            (folder / kind).mkdir()
            exports[kind] = Export(folder / kind, setup, load, kind == "folded")
        export = exports[kind]
        samples = (
            export.run_c(program) if client == "c" else export.run_python()
        )
        rows.append(
            {
                "export": kind,
                "client": client,
                "threads": load.threads,
                **summary(samples),
                "sizes": {str(size): part for size, part in SHARES.items()},
                "strange_ids": load.strange,
                "keras": export.keras,
                "fields": setup.fields,
                "table_rows": setup.rows("deepfm"),
            }
        )
        print(rows[-1], flush=True)
    return rows


def main(argv: list[str]) -> None:
    del argv
    load = Load(
        threads=FLAGS.threads, seconds=FLAGS.seconds, requests=FLAGS.requests
    )
    with tempfile.TemporaryDirectory() as folder:
        setup = small_model(FLAGS.table_bytes)
        rows = measure(FLAGS.run, setup, load, pathlib.Path(folder))
    done = {(row["export"], row["client"]) for row in rows}
    others = [
        row
        for row in read_rows(FLAGS.output)
        if (row["export"], row["client"]) not in done
    ]
    write_rows(FLAGS.output, [*others, *rows])
    if any(row["wrong"] or row["growth"] > MAX_GROWTH for row in rows):
        raise SystemExit("wrong answers, or memory that grows")


if __name__ == "__main__":
    define_flags()
    app.run(main)
