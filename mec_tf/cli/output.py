"""The directory that a command writes."""

import json
import pathlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mec_tf.files import naming_full_disk, write_text

MARK = "job.json"
WORK = "work"


class Interrupted(Exception):
    """The user stopped a command that can go on later."""


def _holds_anything(folder: pathlib.Path) -> bool:
    """Whether it is a file, or holds more than an empty work folder."""
    if not folder.is_dir():
        return True
    names = {path.name for path in folder.iterdir()}
    return bool(names - {WORK}) or (
        WORK in names and any((folder / WORK).iterdir())
    )


@contextmanager
def output_directory(
    path: str, settings: dict[str, Any]
) -> Iterator[pathlib.Path]:
    """Opens a fresh output directory, or that of an unfinished same job.

    A directory made here is removed again where the input turns out bad,
    before any model is trained. Later, and on an interruption, it stays, for
    the same command to go on.

    Args:
        path: the directory.
        settings: JSON-able; what makes two jobs the same.

    Raises:
        FileExistsError: if it holds anything but this job, unfinished.
        OSError: if it cannot be written.
    """
    folder = pathlib.Path(path)
    missing = [p for p in (folder, *folder.parents) if not p.exists()]
    text = json.dumps(settings, indent=1, sort_keys=True)
    mark = folder / WORK / MARK
    if not missing and _holds_anything(folder):
        if not mark.exists():
            raise FileExistsError(
                f"`--output_dir` must be new or empty. Received: {path}, "
                "which holds other files"
            )
        if mark.read_text() != text:
            raise FileExistsError(
                f"`--output_dir` {path} holds an unfinished run with other "
                "settings. Repeat that command to finish it, or delete the "
                "directory"
            )
        print(f"Going on with the unfinished run in {path}.")
    try:
        mark.parent.mkdir(parents=True, exist_ok=True)
        write_text(mark, text)
    except OSError as error:
        if missing:
            shutil.rmtree(missing[-1], ignore_errors=True)
        raise OSError(
            f"`--output_dir` {path} cannot be written: {error.strerror}"
        ) from None
    try:
        with naming_full_disk(folder):
            yield folder
    except KeyboardInterrupt:
        raise Interrupted(
            "interrupted. The same command goes on from here."
        ) from None
    except (ValueError, OSError, ImportError):
        if not (folder / WORK / "full").exists():
            unwanted = missing[-1] if missing else folder / WORK
            shutil.rmtree(unwanted, ignore_errors=True)
        raise
    shutil.rmtree(folder / WORK)
