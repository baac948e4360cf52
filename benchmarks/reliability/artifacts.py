r"""Damaged, foreign and forged files: one error, or no harm.

    python -m benchmarks.reliability.artifacts \
        --output benchmarks/results/reliability_artifacts.json

Every file that mec_tf reads is cut off at each 1 kB, has random bytes flipped,
is replaced by files of other kinds, claims sizes that it has not, and is
forged: its settings changed at random, and its checksums with them. A child
process with bounded memory (1 GB above what it has) reads each; a case ends as

- "refused", with the documented error;
- "same": the damage changed nothing (white space, time stamps);
- "another": forged files only, which hold something else that is valid;
- "failed": any other error, something else without an error, the end of the
  process, or more than 60 seconds.

The rows "by Keras alone" and "by TensorFlow alone" read the same files without
mec_tf; any error counts as "refused" there, and "failed" is no error of ours.

With `--artifacts`, or under TF_USE_LEGACY_KERAS=1, rows of other artifacts and
of the other Keras stay in the output.
"""

import collections
import io
import json
import multiprocessing
import os
import pathlib
import pickle
import resource
import shutil
import signal
import struct
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from absl import app, flags

from benchmarks.environment import environment, read_rows, write_rows
from benchmarks.reliability.artifact_kinds import READ, UNCHECKED, Kind

FLAGS = flags.FLAGS
KINDS = {**READ, **UNCHECKED}
SECONDS = 60
MEMORY = 1 << 30
_FAILED = "failed"


class Case(NamedTuple):
    """A kind's name, what is done to it, to which file of it, and how."""

    kind: str
    attack: str
    file: str
    where: int
    value: int = 0


def define_flags() -> None:
    flags.DEFINE_integer("flips", 10_000, "Flipped bytes, each kind.")
    flags.DEFINE_integer("forged", 2_000, "Forged files, each kind.")
    flags.DEFINE_integer("unchecked", 500, "Flips, by Keras or TensorFlow.")
    flags.DEFINE_list("artifacts", list(KINDS), "What to damage.")
    flags.DEFINE_string("output", None, "Result file, JSON.", required=True)


def foreign() -> list[bytes]:
    """Contents of files of other kinds, and headers that lie about sizes."""
    archive, arrays = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("readme.txt", "text")
        file.writestr("config.json", "{}")
    np.savez(arrays, x=np.zeros(3))
    tensors = {
        f"t{rows}_{columns}": {
            "dtype": "F32",
            "shape": [rows, columns],
            "data_offsets": [0, rows * columns * 4 % 2**64],
        }
        for rows, columns in ((2**40, 1), (2**40, 0), (2**40, 2**40))
    }
    lies = []
    for name, entry in tensors.items():
        text = json.dumps({name: entry}).encode()
        lies.append(struct.pack("<Q", len(text)) + text)
    return [
        b"",
        b"user,item,click\n1,2,0\n" * 50,
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(99),
        archive.getvalue(),
        arrays.getvalue(),
        pickle.dumps({"weights": [1.0] * 99}),
        b'{"version": 1}',
        b"[" * 200_000,
        bytes(100_000),
        b"\xff" * 4096,
        struct.pack("<Q", 2**63) + b"{}",
        struct.pack("<Q", 2**40) + b"{}",
        np.random.default_rng(0).bytes(50_000),
        *lies,
    ]


def contents(path: pathlib.Path) -> dict[str, bytes]:
    """The bytes of a file, named "", or of all files of a directory."""
    if path.is_file():
        return {"": path.read_bytes()}
    return {
        str(file.relative_to(path)): file.read_bytes()
        for file in sorted(path.rglob("*"))
        if file.is_file()
    }


def cases(
    name: str, path: pathlib.Path, flips: int, forged: int
) -> Iterator[Case]:
    """All that is done to one kind of file."""
    files = contents(path)
    rng = np.random.default_rng(len(name))
    for file, content in files.items():
        for size in sorted({*range(0, len(content), 1024), len(content) - 1}):
            yield Case(name, "cut", file, size)
        for place in range(len(foreign())):
            yield Case(name, "foreign", file, place)
    names = list(files)
    sizes = np.array([len(files[file]) for file in names])
    for pick in rng.choice(len(names), flips, p=sizes / sizes.sum()):
        yield Case(
            name, "flip", names[pick], int(rng.integers(sizes[pick])),
            int(rng.integers(1, 256)),
        )  # fmt: skip
    if KINDS[name].forge is not None:
        for place in range(forged):
            yield Case(name, "forged", "", place)


def damaged(case: Case, content: bytes) -> bytes:
    """What is put in the place of a file's content."""
    if case.attack == "cut":
        return content[: case.where]
    if case.attack == "foreign":
        return foreign()[case.where]
    changed = bytearray(content)
    changed[case.where] ^= case.value
    return bytes(changed)


def judge(
    kind: Kind, case: Case, path: pathlib.Path, files: dict, expected: str
) -> tuple[str, str]:
    """Applies a case, reads the file and puts it back."""
    target = path / case.file if case.file else path
    if case.attack == "forged":
        rng = np.random.default_rng((case.where, len(case.kind)))
        kind.forge(path, rng)
    else:
        target.write_bytes(damaged(case, files[case.file]))
    try:
        found = kind.read(path)
    except kind.error as error:
        return "refused", type(error).__name__
    # A missing file is no damaged one; a SavedModel is found by its graph.
    except FileNotFoundError as error:
        return _FAILED, repr(error)
    except Exception as error:
        return _FAILED, repr(error)[:300]
    finally:
        for name, content in files.items():
            place = path / name if name else path
            if not place.is_file() or place.read_bytes() != content:
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(content)
    if found == expected:
        return "same", ""
    if case.attack == "forged":
        return "another", ""
    return _FAILED, "something else was read without an error"


def peak_memory() -> int:
    """Largest resident memory so far, in bytes.

    Unlike `ru_maxrss`, not that of the process which started this one.
    """
    status = pathlib.Path("/proc/self/status").read_text()
    (line,) = (x for x in status.splitlines() if x.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def _work(folder: str, todo: list[Case], first: int, connection: Any) -> None:
    """Judges the cases from `first` on; sends (place, outcome, detail)."""
    sys.stderr = open(os.devnull, "w")
    root = pathlib.Path(folder)
    known: dict[str, tuple[dict, str]] = {}
    for name in dict.fromkeys(case.kind for case in todo[first:]):
        path = root / KINDS[name].file
        known[name] = contents(path), KINDS[name].read(path)
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[0])
    bound = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (bound, bound))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    base = peak_memory()
    for place, case in enumerate(todo[first:], first):
        signal.alarm(SECONDS)
        kind = KINDS[case.kind]
        outcome = judge(kind, case, root / kind.file, *known[case.kind])
        signal.alarm(0)
        connection.send((place, *outcome, peak_memory() - base))


def run(
    folder: pathlib.Path,
    flips: int,
    forged: int,
    unchecked: int,
    kinds: list[str] | None = None,
    progress: bool = False,
) -> list[dict[str, Any]]:
    """Tries everything; one row for each kind and attack.

    Args:
        folder: an empty directory to work in.
        flips: flipped bytes of each kind.
        forged: forged files of each kind.
        unchecked: flipped bytes where Keras or TensorFlow read alone.
        kinds: names of kinds. Default: all.
        progress: whether to print where it is.
    """
    todo: list[Case] = []
    for name in KINDS if kinds is None else kinds:
        kind = KINDS[name]
        kind.writers(folder)[0](folder / kind.file)
        count = flips if kind.promised else unchecked
        todo += cases(name, folder / kind.file, count, forged)
    pristine = folder / "pristine"
    shutil.copytree(folder, pristine)
    outcomes: list[tuple[str, str]] = []
    growth: dict[str, int] = collections.Counter()
    context = multiprocessing.get_context("spawn")
    while len(outcomes) < len(todo):
        receiver, sender = context.Pipe(duplex=False)
        child = context.Process(
            target=_work, args=(str(folder), todo, len(outcomes), sender)
        )
        child.start()
        sender.close()
        started = len(outcomes)
        try:
            while len(outcomes) < len(todo):
                place, outcome, detail, more = receiver.recv()
                assert place == len(outcomes)
                outcomes.append((outcome, detail))
                name = todo[place].kind
                growth[name] = max(growth[name], more)
                if progress and place % 2000 == 0:
                    print(f"{place:,} of {len(todo):,}", flush=True)
        except EOFError:
            pass
        child.join()
        if len(outcomes) < len(todo):
            if child.exitcode == 1 and len(outcomes) == started:
                raise RuntimeError("the child process could not start")
            outcomes.append((_FAILED, f"it ended with {child.exitcode}"))
            shutil.copytree(pristine, folder, dirs_exist_ok=True)
    return _rows(todo, outcomes, growth)


def _rows(
    todo: list[Case], outcomes: list[tuple[str, str]], growth: dict[str, int]
) -> list[dict[str, Any]]:
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    keras = environment()["keras"]
    for case, (outcome, detail) in zip(todo, outcomes, strict=True):
        row = rows.setdefault(
            (case.kind, case.attack),
            {
                "artifact": case.kind, "attack": case.attack, "keras": keras,
                "promised": KINDS[case.kind].promised, "cases": 0,
                "refused": 0, "same": 0, "another": 0, _FAILED: 0,
                "errors": collections.Counter(), "failures": [],
            },
        )  # fmt: skip
        row["cases"] += 1
        row[outcome] += 1
        if outcome == "refused":
            row["errors"][detail] += 1
        if outcome == _FAILED and len(row["failures"]) < 20:
            row["failures"].append([*case[2:], detail])
        row["peak_memory_growth"] = growth[case.kind]
    return list(rows.values())


def main(_: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        rows = run(
            pathlib.Path(folder), FLAGS.flips, FLAGS.forged, FLAGS.unchecked,
            FLAGS.artifacts, progress=True,
        )  # fmt: skip
    for row in rows:
        print(
            f"{row['artifact']:34} {row['attack']:8} {row['cases']:7,} cases: "
            f"{row['refused']:,} refused, {row['same']:,} same, "
            f"{row['another']:,} another, {row['failed']:,} failed"
        )
    fresh = {(row["artifact"], row["keras"]) for row in rows}
    others = [
        row
        for row in read_rows(FLAGS.output)
        if (row["artifact"], row["keras"]) not in fresh
    ]
    write_rows(FLAGS.output, others + rows)


if __name__ == "__main__":
    define_flags()
    app.run(main)
