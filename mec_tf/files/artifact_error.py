"""The error of a file that cannot be trusted."""

import os


class ArtifactError(ValueError):
    """A file is damaged, foreign, or of a format that this release lacks.

    Args:
        path: the file.
        reason: what is wrong with it.
    """

    def __init__(self, path: str | os.PathLike, reason: str):
        super().__init__(f"{os.fspath(path)}: {reason}")
