"""The error of a disk without room, whatever library met it."""

import contextlib
import errno
import os
from collections.abc import Iterator

_CODES = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class _FullDisk(OSError):
    """Of `naming_full_disk`; outer ones let it pass."""


@contextlib.contextmanager
def naming_full_disk(path: str | os.PathLike) -> Iterator[None]:
    """Says which file could not be written where there was no room for it.

    HDF5, safetensors and TensorFlow hide that behind errors of their own, and
    Python's names no file. Other errors pass.

    Args:
        path: what is written.

    Raises:
        OSError: with `errno` and `filename`, if disk, quota or the limit of a
            file's size are exhausted.
    """
    try:
        yield
    except _FullDisk:
        raise
    except Exception as error:
        code = _code(error)
        if code is None:
            raise
        raise _FullDisk(
            code,
            f"The disk is full ({os.strerror(code)}). Free some room and try "
            "again; what stood there before is unchanged",
            os.fspath(path),
        ) from error


def _code(error: Exception) -> int | None:
    """The `errno` of a lack of room that an error tells of."""
    number = getattr(error, "errno", None)
    if number in _CODES:
        return number
    text = str(error)
    for code in _CODES:
        if os.strerror(code) in text:
            return code
    return None
