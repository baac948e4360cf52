"""Writing a directory beside its place and renaming it into it."""

import contextlib
import os
import pathlib
import shutil
from collections.abc import Iterator

from mec_tf.files import naming_full_disk, swap, sync, sync_tree

_SAVED_MODEL = "saved_model.pb"
# In the work folder: what is being replaced, where both cannot be swapped.
_ASIDE = "replaced"


@contextlib.contextmanager
def staged(
    path: str | os.PathLike, overwrite: bool = False
) -> Iterator[pathlib.Path]:
    """A work folder whose sub-folder `model` becomes `path` at the end.

    The work folder is `<path>.partial`; what a killed process left there is
    replaced. If the body raises, nothing of it stays, nor do directories that
    were made for it. All of it is on the disk before it takes its place.

    Args:
        path: the directory to write; must not exist, or be empty.
        overwrite: whether `path` may also be a SavedModel, which is replaced.

    Raises:
        FileExistsError: if `path` holds something that must not be replaced.
        OSError: if it cannot be written.
    """
    target = pathlib.Path(os.path.realpath(path))
    _check_free(target, overwrite)
    work = target.with_name(target.name + ".partial")
    missing = [p for p in target.parents if not p.exists()]
    try:
        try:
            _put_back(target, work / _ASIDE)
            if work.exists():
                shutil.rmtree(work)
            work.mkdir(parents=True)
        except OSError as error:
            raise OSError(
                f"`path` cannot be written: {error.strerror}. Received: {path}"
            ) from error
        with naming_full_disk(target):
            yield work
            _check_free(target, overwrite)
            sync_tree(work / "model")
            _move(work / "model", target, work / _ASIDE)
            sync(target.parent)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        for parent in missing:
            with contextlib.suppress(OSError):
                parent.rmdir()
        raise
    shutil.rmtree(work)


def _check_free(target: pathlib.Path, overwrite: bool) -> None:
    if not target.exists():
        return
    if target.is_dir():
        if not any(target.iterdir()):
            return
        if overwrite and (target / _SAVED_MODEL).is_file():
            return
    allowed = "new, empty" if overwrite else "new or empty"
    also = " or a SavedModel" if overwrite else ""
    raise FileExistsError(
        f"`path` must be {allowed}{also}. Received: {target}, which exists"
    )


def _put_back(target: pathlib.Path, aside: pathlib.Path) -> None:
    """Undoes a `_move` that was killed half-way."""
    if aside.exists() and not target.exists():
        os.rename(aside, target)


def _move(
    source: pathlib.Path, target: pathlib.Path, aside: pathlib.Path
) -> None:
    if not target.exists() or not any(target.iterdir()):
        os.rename(source, target)
        return
    if swap(source, target):
        return
    # Elsewhere than on Linux there is a moment without either.
    os.rename(target, aside)
    try:
        os.rename(source, target)
    except BaseException:
        os.rename(aside, target)
        raise
