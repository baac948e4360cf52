r"""Trainings killed at random moments end as if they never were.

    python -m benchmarks.reliability.interruptions \
        --output benchmarks/results/reliability_interruptions.json

Each training of `trainings.py` runs once to its end. Then it runs in processes
that are killed (SIGKILL) after a random time, and started again until it is
done; and so on, until `--kills` processes were killed. A moment lies anywhere
in the time of the first run; or, three times of four, in the time that the
first run took after its first state was saved, counted from when the process
saves one. All that it learned, to the optimizer's last moment and the last
counter, must equal the uninterrupted run's bit for bit.

Run it again under TF_USE_LEGACY_KERAS=1 with the same `--output`: rows of the
other Keras, and of other trainings, stay.
"""

import json
import math
import multiprocessing
import pathlib
import shutil
import signal
import tempfile
import time
from typing import Any

import numpy as np
import tensorflow as tf
from absl import app, flags

from benchmarks.environment import read_rows, write_rows
from benchmarks.reliability import trainings

FLAGS = flags.FLAGS
KERAS = "3" if hasattr(tf.keras, "ops") else "2"
# Every process is forked from one that has imported TensorFlow, and has not
# run it: a start then takes no longer than building the model.
_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload(["benchmarks.reliability.trainings"])


def define_flags() -> None:
    flags.DEFINE_list("trainings", list(trainings.TRAININGS), "Which.")
    flags.DEFINE_integer("kills", 25, "Processes killed, each training.")
    flags.DEFINE_integer("epochs", 16, "Epochs of a training.")
    flags.DEFINE_integer("seed", 0, "Of the moments.")
    flags.DEFINE_string("output", None, "Result file, JSON.", required=True)


def interrupt(
    name: str, kills: int, epochs: int, seed: int, progress: bool = False
) -> dict[str, Any]:
    """One row: a training, killed so many times or a few more."""
    rng = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory(prefix="interruptions_") as work:
        whole = pathlib.Path(work) / "whole"
        ran = _run(name, whole, epochs)
        if ran is None:
            raise RuntimeError(f"{name} was killed by somebody else")
        first_save, seconds = ran
        expected = _read(whole)
        row: dict[str, Any] = {
            "training": name,
            "keras": KERAS,
            "epochs": epochs,
            "variables": len(expected),
            "seconds": round(seconds, 1),
            "seconds_to_first_state": round(first_save, 1),
            "kills": 0,
            "trainings": 0,
            "differing": 0,
            "resumed_at": [],
        }
        while row["kills"] < kills:
            folder = pathlib.Path(work) / "killed"
            while not _interrupted(name, folder, epochs, rng, ran):
                row["kills"] += 1
            row["trainings"] += 1
            row["differing"] += bool(_differing(_read(folder), expected))
            starts = (folder / trainings.STARTS).read_text().split()
            row["resumed_at"] += [int(s) for s in starts if int(s)]
            shutil.rmtree(folder)
            if progress:
                print(json.dumps(row), flush=True)
    return row


def _interrupted(
    name: str,
    folder: pathlib.Path,
    epochs: int,
    rng: np.random.Generator,
    ran: tuple[float, float],
) -> bool:
    """Starts a training, kills it at a random moment; whether it had ended."""
    first_save, seconds = ran
    if rng.random() < 0.25:
        limit, after_save = rng.uniform(0, seconds), False
    else:
        limit, after_save = rng.uniform(0, seconds - first_save), True
    return _run(name, folder, epochs, limit, after_save) is not None


def _run(
    name: str,
    folder: pathlib.Path,
    epochs: int,
    limit: float = math.inf,
    after_save: bool = False,
) -> tuple[float, float] | None:
    """Runs a training; kills it after a time, or so long after it saved.

    Returns:
        Seconds to its first state and to its end; None if it was killed.
    """
    folder.mkdir(exist_ok=True)
    state = folder / trainings.STATES[name]
    before = _changed(state)
    process = _PROCESSES.Process(
        target=trainings.run, args=(name, folder, epochs)
    )
    process.start()
    started = time.monotonic()
    deadline = math.inf if after_save else started + limit
    saved = None
    while process.is_alive() and time.monotonic() < deadline:
        process.join(0.005)
        if saved is None and _changed(state) != before:
            saved = time.monotonic()
            if after_save:
                deadline = saved + limit
    process.kill()  # does nothing to one that has ended
    process.join()
    if process.exitcode == -signal.SIGKILL:
        return None
    if process.exitcode:
        raise RuntimeError(f"{name} failed with status {process.exitcode}")
    return (saved or started) - started, time.monotonic() - started


def _changed(path: pathlib.Path) -> int | None:
    return path.stat().st_mtime_ns if path.exists() else None


def _read(folder: pathlib.Path) -> dict[str, np.ndarray]:
    with np.load(folder / "final.npz") as arrays:
        return {name: arrays[name] for name in arrays.files}


def _differing(
    found: dict[str, np.ndarray], expected: dict[str, np.ndarray]
) -> list[str]:
    """Names of arrays that are not the same bit for bit."""
    return [
        name
        for name in {*found, *expected}
        if name not in found
        or name not in expected
        or found[name].dtype != expected[name].dtype
        or found[name].tobytes() != expected[name].tobytes()
    ]


def main(argv: list[str]) -> None:
    del argv
    rows = [
        row
        for row in read_rows(FLAGS.output)
        if row["keras"] != KERAS or row["training"] not in FLAGS.trainings
    ]
    for name in FLAGS.trainings:
        row = interrupt(
            name, FLAGS.kills, FLAGS.epochs, FLAGS.seed, progress=True
        )
        rows.append(row)
        print(
            f"Keras {KERAS}, {name}: {row['kills']} kills in "
            f"{row['trainings']} trainings, {len(row['resumed_at'])} starts "
            f"from a saved state, {row['differing']} ends that differ",
            flush=True,
        )
        rows.sort(key=lambda row: (row["keras"], row["training"]))
        write_rows(FLAGS.output, rows)


if __name__ == "__main__":
    define_flags()
    app.run(main)
