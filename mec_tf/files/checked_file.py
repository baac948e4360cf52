"""A safetensors file that is read only if it is whole and our own."""

import dataclasses
import hashlib
import os
from collections.abc import Mapping

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from mec_tf.files.artifact_error import ArtifactError
from mec_tf.files.writing import replacing


@dataclasses.dataclass(frozen=True)
class CheckedFile:
    """A kind of file: tensors, and a text that says what they are.

    The metadata hold the format, its version, the text, and a SHA-256 over
    text and tensors. Nothing in the file is ever run or unpickled.

    Args:
        format: its name.
        version: of the format, as it is written and read.
        text: key of the text.
        contents: what the file holds, in words.
    """

    format: str
    version: str
    text: str
    contents: str

    def write(
        self,
        path: str | os.PathLike,
        text: str,
        arrays: dict[str, np.ndarray],
    ) -> None:
        """Writes beside and renames into place.

        Raises:
            OSError: if the file cannot be written.
        """
        metadata = {
            "format": self.format,
            "version": self.version,
            self.text: text,
            "sha256": self.checksum(text, arrays),
        }
        try:
            with replacing(path) as fresh:
                fresh.touch()
                mode = fresh.stat().st_mode
                save_file(arrays, fresh, metadata=metadata)
                # safetensors makes files that only the owner reads
                fresh.chmod(mode)
        except SafetensorError as error:
            raise OSError(f"{path} cannot be written: {error}") from None

    def read(
        self, path: str | os.PathLike
    ) -> tuple[str, dict[str, np.ndarray]]:
        """The text and the tensors of an existing file.

        Memory is bounded by the size of the file, whatever its header says.

        Raises:
            ArtifactError: if it is anything but an intact file of this kind.
        """
        try:
            # safetensors checks its header against the size of the file first.
            with safe_open(path, framework="np") as file:
                metadata = file.metadata() or {}
                own = metadata.get("format") == self.format
                arrays = {k: file.get_tensor(k) for k in file.keys() if own}
        # Whatever a foreign file makes its reader raise.
        except Exception as error:
            raise ArtifactError(
                path, f"is damaged or no safetensors file ({error})"
            ) from None
        if not own:
            raise ArtifactError(
                path, f"holds no {self.contents} (no format {self.format!r})"
            )
        if metadata.get("version") != self.version:
            raise ArtifactError(
                path,
                f"has format version {metadata.get('version')!r}; this "
                f"release reads version {self.version!r}",
            )
        text = metadata.get(self.text, "")
        if metadata.get("sha256") != self.checksum(text, arrays):
            raise ArtifactError(path, "is damaged: its checksum does not agree")
        return text, arrays

    def checksum(self, text: str, arrays: Mapping[str, np.ndarray]) -> str:
        """The SHA-256 of the text and the tensors."""
        head = f"{self.format} {self.version}\n{text}\n"
        total = hashlib.sha256(head.encode())
        for name, array in sorted(arrays.items()):
            head = f"{name} {array.dtype.name} {list(array.shape)}\n"
            total.update(head.encode())
            total.update(array.data)
        return total.hexdigest()
