"""A vocabulary inside a SavedModel: a text file and its hash table."""

from __future__ import annotations

import hashlib
import pathlib
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import tensorflow as tf

if TYPE_CHECKING:
    from mec_tf.data import Vocabulary


class VocabularyTable(tf.Module):
    """Maps raw values to rows; its values become an asset of the SavedModel.

    The asset is a text file of a value a line, in row order from row 1.
    TensorFlow's reader drops carriage returns and refuses empty lines, so a
    vocabulary that holds line breaks or the empty string is written with
    backslash escapes, and values are escaped alike before they are looked up.

    Args:
        feature: str, name of the feature; part of the file's name.
        vocabulary: the `Vocabulary`.
        folder: existing directory for the file.
    """

    def __init__(
        self, feature: str, vocabulary: Vocabulary, folder: pathlib.Path
    ):
        super().__init__()
        self.key_dtype = tf.as_dtype(vocabulary.key_dtype)
        values = vocabulary.values
        self.escaped = self.key_dtype == tf.string and any(
            not v or "\n" in v or "\r" in v for v in values
        )
        self.file: pathlib.Path | None = None
        # TensorFlow takes no empty file.
        if len(values):
            lines = map(escape, values) if self.escaped else map(str, values)
            self.file = _write(lines, folder, feature)
            self.table = tf.lookup.StaticHashTable(
                tf.lookup.TextFileInitializer(
                    str(self.file),
                    self.key_dtype,
                    tf.lookup.TextFileIndex.WHOLE_LINE,
                    tf.int64,
                    tf.lookup.TextFileIndex.LINE_NUMBER,
                    vocab_size=len(values),
                    value_index_offset=1,
                ),
                default_value=0,
            )

    @property
    def num_bytes(self) -> int:
        """Bytes of the file."""
        return self.file.stat().st_size if self.file else 0

    def rows(self, values: tf.Tensor) -> tf.Tensor:
        """int64 rows of raw values of any shape; 0 where unknown."""
        if self.file is None:
            return tf.zeros_like(values, tf.int64)
        return self.table.lookup(escape_op(values) if self.escaped else values)


def vocabulary_tables(
    vocabularies: Mapping[str, Vocabulary], folder: pathlib.Path
) -> dict[str, VocabularyTable]:
    """A table for each feature; features of one vocabulary share it."""
    made: dict[int, VocabularyTable] = {}
    for feature, vocabulary in vocabularies.items():
        if id(vocabulary) not in made:
            made[id(vocabulary)] = VocabularyTable(feature, vocabulary, folder)
    return {f: made[id(v)] for f, v in vocabularies.items()}


def escape(value: str) -> str:
    """One non-empty line for any string; no two strings give the same."""
    value = value.replace("\\", "\\\\")
    return value.replace("\n", "\\n").replace("\r", "\\r") or "\\0"


def escape_op(values: tf.Tensor) -> tf.Tensor:
    """`escape`, of a tensor of strings."""
    for pattern, rewrite in (
        (r"\\", r"\\\\"),
        (r"\n", r"\\n"),
        (r"\r", r"\\r"),
        (r"^$", r"\\0"),
    ):
        values = tf.strings.regex_replace(values, pattern, rewrite)
    return values


def _write(
    lines: Iterable[str], folder: pathlib.Path, feature: str
) -> pathlib.Path:
    """Writes the lines to a file that is named after their content.

    TensorFlow names a table after its file and shares tables of one name
    between all models of a process, so the name must tell contents apart.
    """
    partial = folder / "lines"
    digest = hashlib.sha256()
    with partial.open("wb") as file:
        for line in lines:
            encoded = line.encode() + b"\n"
            digest.update(encoded)
            file.write(encoded)
    safe = re.sub("[^A-Za-z0-9_]+", "_", feature)
    name = f"vocabulary_{safe}_{digest.hexdigest()[:16]}.txt"
    return partial.rename(folder / name)
