r"""Saving killed half-way: the old file or the new one, complete.

    python -m benchmarks.reliability.saving \
        --output benchmarks/results/reliability_saving.json

A child process saves two different artifacts to one place in turn, until it is
killed with SIGKILL:

- "clock": after a random time, of up to twice what a save takes;
- "file event": once at each opening, renaming or removing of a file that a save
  goes through, while it puts the one in the place of the other.

What is found then must be read as one of the two. `whole` counts that, `absent`
where there was nothing before either (deltas, which replace nothing), `broken`
all else; `half_way` are kills after which unfinished work stood beside. The
next save starts from what the killed one left, and the last must leave nothing
beside.
"""

import multiprocessing
import os
import pathlib
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

from absl import app, flags

from benchmarks.environment import write_rows
from benchmarks.reliability.artifact_kinds import WRITTEN

FLAGS = flags.FLAGS
_EVENTS = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "ctypes.dlsym"}
# What a killed save may leave; the next one removes it.
_LEFT = (".fresh", ".partial")


def define_flags() -> None:
    flags.DEFINE_integer("kills", 200, "By the clock, each artifact.")
    flags.DEFINE_list("artifacts", list(WRITTEN), "What to save.")
    flags.DEFINE_string("output", None, "Result file, JSON.", required=True)


def processes() -> Any:
    """Makes children of a process that has imported TensorFlow already."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([WRITTEN["codes"].writers.__module__])
    return context


def _save(name: str, folder: str, event: int, connection: Any) -> None:
    """In the child: saves for ever, or once up to an event."""
    with open(os.devnull, "w") as nothing:
        os.dup2(nothing.fileno(), 1)
        os.dup2(nothing.fileno(), 2)
    kind, root = WRITTEN[name], pathlib.Path(folder)
    place = root / "saved" / kind.file
    first, second = kind.writers(root)
    connection.send("ready")
    if event:
        _kill_at(event, folder)
        second(place)
        connection.send("done")
        os._exit(0)
    while True:
        first(place)
        second(place)


def _kill_at(event: int, folder: str) -> None:
    """Kills this process at the `event`-th event on files of `folder`."""
    left = [event]

    def hook(what: str, arguments: tuple) -> None:
        opened = what == "open" and folder in str(arguments[0])
        if opened or what in _EVENTS:
            left[0] -= 1
            if not left[0]:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def kill_one(
    context: Any, name: str, folder: pathlib.Path, wait: float, event: int
) -> bool:
    """Starts a child and kills it; False if it was done before the event."""
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(
        target=_save, args=(name, str(folder), event, sender)
    )
    child.start()
    sender.close()
    try:
        assert receiver.recv() == "ready"
        if event:
            return receiver.recv() != "done"
        time.sleep(wait)
    except EOFError:
        assert event, "the child process ended by itself"
        return True
    finally:
        if not event:
            child.kill()
        child.join()
        assert event or child.exitcode == -signal.SIGKILL
    return True


def run(
    name: str,
    folder: pathlib.Path,
    clock: int,
    events: bool,
    context: Any = None,
    progress: bool = False,
) -> list[dict[str, Any]]:
    """Kills the saving of one artifact.

    Args:
        name: of the artifact.
        folder: an empty directory to work in.
        clock: kills after a random time.
        events: whether to kill at each file event too.
        context: of `processes`. Default: a new one.
        progress: whether to print where it is.

    Returns:
        A row for each way to kill.
    """
    context = context or processes()
    kind = WRITTEN[name]
    place = folder / "saved" / kind.file
    place.parent.mkdir()
    writers = kind.writers(folder)
    known = []
    for writer in writers:
        started = time.monotonic()
        writer(place)
        seconds = time.monotonic() - started
        known.append(kind.read(place))
    assert known[0] != known[1]

    def tally(how: str, kill: Callable[[int], bool]) -> dict[str, Any]:
        row = {
            "artifact": name, "how": how, "kills": 0, "whole": 0, "absent": 0,
            "half_way": 0, "broken": [],
        }  # fmt: skip
        while kill(row["kills"]):
            row["kills"] += 1
            row["half_way"] += len(_left(place)) > 0
            what = _found(kind, place, known)
            if what == "absent" and name == "delta":
                row["absent"] += 1
            elif what == "whole":
                row["whole"] += 1
            else:
                row["broken"].append(what)
            if progress and row["kills"] % 50 == 0:
                print(f"{name}, {how}: {row['kills']} kills", flush=True)
        writers[0](place)
        if _left(place) or kind.read(place) != known[0]:
            row["broken"].append(f"the next save left {_left(place)}")
        return row

    def by_clock(kills: int) -> bool:
        wait = random.uniform(0, 2 * seconds)
        return kills < clock and kill_one(context, name, folder, wait, 0)

    def by_event(kills: int) -> bool:
        writers[0](place)
        return kill_one(context, name, folder, 0.0, kills + 1)

    rows = [tally("clock", by_clock)] if clock else []
    return rows + ([tally("file event", by_event)] if events else [])


def _left(place: pathlib.Path) -> list[str]:
    return [
        path.name
        for path in place.parent.iterdir()
        if any(mark in path.name for mark in _LEFT)
    ]


def _found(kind: Any, place: pathlib.Path, known: list[str]) -> str:
    if not place.exists():
        return "absent"
    try:
        return "whole" if kind.read(place) in known else "something else"
    except Exception as error:
        return repr(error)[:300]


def main(_: list[str]) -> None:
    random.seed(0)
    rows = []
    context = processes()
    for name in FLAGS.artifacts:
        with tempfile.TemporaryDirectory() as folder:
            rows += run(
                name, pathlib.Path(folder), FLAGS.kills, True, context, True
            )
        write_rows(FLAGS.output, rows)
    for row in rows:
        print(
            f"{row['artifact']:15} {row['how']:10} {row['kills']:4} kills, "
            f"{row['half_way']} half-way: {row['whole']} whole, "
            f"{row['absent']} absent, {len(row['broken'])} broken"
        )


if __name__ == "__main__":
    define_flags()
    app.run(main)
