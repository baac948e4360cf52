"""Writing beside and renaming into place.

Whoever reads the place finds what was there before or all of what is new, also
after the writer was killed or the machine lost its power.
"""

import contextlib
import ctypes
import os
import pathlib
import sys
from collections.abc import Iterator

from mec_tf.files.full_disk import naming_full_disk

# Of Linux's renameat2: paths start at the working directory; swap them.
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[pathlib.Path]:
    """A fresh path beside `path` whose file becomes `path` at the end.

    It ends as `path` does ("model.fresh.keras"). What a killed process left
    there is overwritten. If the body raises, nothing of it stays.

    Args:
        path: the file to write; what a symbolic link points to.

    Raises:
        OSError: if it cannot be written.
    """
    target = pathlib.Path(os.path.realpath(path))
    fresh = target.with_name(f"{target.stem}.fresh{target.suffix}")
    try:
        with naming_full_disk(target):
            yield fresh
            sync(fresh)
            fresh.replace(target)
            sync(target.parent)
    finally:
        fresh.unlink(missing_ok=True)


def write_text(path: str | os.PathLike, text: str) -> None:
    """Writes a text as UTF-8, as `replacing` does.

    Raises:
        OSError: if it cannot be written.
    """
    with replacing(path) as fresh:
        fresh.write_text(text, encoding="utf-8")


def sync(path: pathlib.Path) -> None:
    """Waits until a file, or the list of a directory, is on the disk.

    Raises:
        OSError: if a file cannot be brought there.
    """
    # Some file systems cannot sync a directory, and need not.
    quiet = (OSError,) if path.is_dir() else ()
    with contextlib.suppress(*quiet):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def sync_tree(folder: pathlib.Path) -> None:
    """`sync` of everything in a directory, and of itself.

    Raises:
        OSError: if a file cannot be brought to the disk.
    """
    for path in (*folder.rglob("*"), folder):
        sync(path)


def swap(one: pathlib.Path, other: pathlib.Path) -> bool:
    """Gives two files or directories each other's name, in one step.

    Returns:
        False, and nothing is changed, where system or file system cannot.
    """
    if sys.platform != "linux":
        return False
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        return False
    names = os.fsencode(one), os.fsencode(other)
    result = rename(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE)
    return result == 0
