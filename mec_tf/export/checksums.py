"""The SHA-256 of each file of a SavedModel, in a file of their own.

In the format of the command `sha256sum`, so that a server without Python can
check its copy too: `cd serving/1 && sha256sum -c assets.extra/SHA256SUMS`.
"""

import hashlib
import pathlib
import re

from mec_tf.files import ArtifactError

CHECKSUM_FILE = "assets.extra/SHA256SUMS"
# Users may add files of their own here, such as warm-up requests.
_OPEN_FOLDER = "assets.extra/"
_LINE = re.compile(r"([0-9a-f]{64})  ([^\\]+)")
_CHUNK = 1 << 24


def write_checksums(folder: pathlib.Path) -> None:
    """Writes the checksums of all files that a SavedModel holds now."""
    lines = [
        f"{file_checksum(folder / name)}  {name}\n"
        for name in file_names(folder)
        if name != CHECKSUM_FILE
    ]
    file = folder / CHECKSUM_FILE
    file.write_text("".join(lines), encoding="utf-8")


def check_checksums(folder: pathlib.Path) -> dict[str, str]:
    """Compares a SavedModel with its checksums, if it has some.

    Returns:
        `{file: its SHA-256}` of all files that the SavedModel holds.

    Raises:
        FileNotFoundError: if it is no SavedModel.
        ArtifactError: if a file is damaged, missing, or (outside of
            `assets.extra`) none of the export's.
    """
    found = {name: file_checksum(folder / name) for name in file_names(folder)}
    if CHECKSUM_FILE not in found:
        return found
    expected = _read(folder / CHECKSUM_FILE)
    for name, digest in expected.items():
        if found.get(name) != digest:
            what = "is damaged" if name in found else "is missing"
            raise ArtifactError(folder / name, f"{what}, by {CHECKSUM_FILE}")
    for name in found:
        if name not in expected and not name.startswith(_OPEN_FOLDER):
            raise ArtifactError(folder / name, f"is not in {CHECKSUM_FILE}")
    return found


def _read(file: pathlib.Path) -> dict[str, str]:
    try:
        lines = file.read_text(encoding="utf-8").split("\n")
    except ValueError as error:
        raise ArtifactError(file, f"is damaged ({error})") from None
    found = [_LINE.fullmatch(line) for line in lines[:-1]]
    if lines[-1] or not found or None in found:
        raise ArtifactError(file, "is damaged: a line is no checksum")
    return {match[2]: match[1] for match in found if match}


def file_checksum(path: pathlib.Path) -> str:
    """The SHA-256 of a file."""
    total = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            total.update(chunk)
    return total.hexdigest()


def file_names(folder: pathlib.Path) -> list[str]:
    """The files below a SavedModel's directory, with "/" between parts.

    Raises:
        FileNotFoundError: if it is no SavedModel.
    """
    if not (folder / "saved_model.pb").is_file():
        raise FileNotFoundError(f"No SavedModel at {folder}")
    return sorted(
        file.relative_to(folder).as_posix()
        for file in folder.rglob("*")
        if file.is_file()
    )
