"""A log of labelled rows, encoded and split."""

from __future__ import annotations

import dataclasses
import functools
import os
import pathlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from mec_tf.data.numeric_stats import NumericStats
from mec_tf.data.rows import Rows
from mec_tf.data.schema import Schema
from mec_tf.data.storage import read_header, read_rows, vocabulary_path
from mec_tf.data.vocabulary import Vocabulary, as_arrow
from mec_tf.data.windows import Windows

if TYPE_CHECKING:
    import tensorflow as tf

SPLITS = ("train", "validation", "test")
_COUNTING_ROWS = 1 << 16
# Batches that are made ahead.
PREFETCHED = 4


class Log:
    """Encoded rows of three splits, with their vocabularies.

    Popularity and statistics come from the training rows only. A log lives in
    memory, or memory-mapped in the directory that `read_log` wrote.

    Args:
        name: Name of the data set, for reports.
        schema: The columns.
        vocabularies: A `Vocabulary` for each categorical column.
        numeric: A `NumericStats` for each numeric column.
        rows: `Rows` for each of "train", "validation" and "test"; columns in
            the order of the schema.

    Attributes:
        vocabularies: `{feature: Vocabulary}`; a sequence has that of the
            column it shares.

    Raises:
        ValueError: If a split, a vocabulary, a statistic or a sequence is
            missing, or a split has no rows.
    """

    splits = SPLITS

    def __init__(
        self,
        name: str,
        schema: Schema,
        vocabularies: Mapping[str, Vocabulary],
        numeric: Mapping[str, NumericStats],
        rows: Mapping[str, Rows],
    ):
        _check_keys("vocabularies", vocabularies, schema.categorical)
        _check_keys("numeric", numeric, schema.numeric)
        _check_keys("rows", rows, SPLITS)
        for split in SPLITS:
            if not len(rows[split]):
                raise ValueError(f"The {split} split has no rows.")
            _check_keys("sequences", rows[split].sequences, schema.sequences)
        self.name = name
        self.schema = schema
        self.vocabularies = {c: vocabularies[c] for c in schema.categorical}
        for feature, column in schema.sequences.items():
            self.vocabularies[feature] = vocabularies[column]
        self.numeric = {c: numeric[c] for c in schema.numeric}
        self._rows = {split: rows[split] for split in SPLITS}

    @classmethod
    def from_columns(
        cls,
        name: str,
        schema: Schema,
        columns: Mapping[str, Any],
        split: Any,
        min_count: int = 1,
    ) -> Log:
        """Encodes columns that are in memory.

        Args:
            name: Name of the data set.
            schema: The columns' kinds; a timestamp is not used.
            columns: For each feature and the label an array `[n]`; for a
                sequence an array `[n, length]`, padded with `None`, NaN or a
                value that the column never has, or `Windows` of values.
            split: int array `[n]`: 0 train, 1 validation, 2 test.
            min_count: Values seen less often in training share row 0.
        """
        split = np.asarray(split)
        members = {s: np.flatnonzero(split == i) for i, s in enumerate(SPLITS)}
        ids = np.empty((len(split), len(schema.categorical)), np.int32)
        vocabularies, numeric = {}, {}
        for i, column in enumerate(schema.categorical):
            values = as_arrow(columns[column])
            train = values.take(pa.array(members["train"]))
            counted = train.value_counts()
            vocabularies[column] = Vocabulary.from_counts(
                counted.field("values"), counted.field("counts"), min_count
            )
            ids[:, i] = vocabularies[column].encode(values)
        raw = np.empty((len(split), len(schema.numeric)), np.float32)
        for i, column in enumerate(schema.numeric):
            raw[:, i] = np.asarray(columns[column], np.float32)
            numeric[column] = NumericStats.from_values(raw[members["train"], i])
        labels = np.asarray(columns[schema.label], np.float32)
        sequences = {
            feature: _encode_sequence(columns[feature], vocabularies[column])
            for feature, column in schema.sequences.items()
        }
        rows = {
            s: Rows(
                ids[pick],
                raw[pick],
                labels[pick],
                {name: _take(rows, pick) for name, rows in sequences.items()},
            )
            for s, pick in members.items()
        }
        return cls(name, schema, vocabularies, numeric, rows)

    @classmethod
    def load(cls, cache_dir: str | os.PathLike, verify: bool = False) -> Log:
        """Opens a directory that `read_log` wrote, memory-mapped.

        Args:
            cache_dir: The directory.
            verify: Also reads all rows and compares their checksums; sizes
                are always compared. Defaults to `False`.

        Raises:
            FileNotFoundError: If there is no finished log in `cache_dir`.
            ValueError: If the log is damaged or of another format.
        """
        folder = pathlib.Path(cache_dir)
        header = read_header(folder)
        try:
            schema = Schema.from_dict(header["schema"])
            sizes = header["vocabulary_sizes"]
            numeric = {
                column: NumericStats(**header["numeric"][column])
                for column in schema.numeric
            }
            entries = {split: header["splits"][split] for split in SPLITS}
        except (KeyError, TypeError) as error:
            raise ValueError(
                f"The log in {folder} is damaged: {error!r}"
            ) from error
        vocabularies = {}
        for i, column in enumerate(schema.categorical):
            vocabulary = Vocabulary.load(vocabulary_path(folder, i))
            if vocabulary.size != sizes[i]:
                raise ValueError(
                    f"The log in {folder} is damaged: the vocabulary of "
                    f"{column!r} must have {sizes[i]} rows. Received: "
                    f"{vocabulary.size}"
                )
            vocabularies[column] = vocabulary
        rows = {
            split: read_rows(folder / split, entry, schema, verify)
            for split, entry in entries.items()
        }
        return cls(header["name"], schema, vocabularies, numeric, rows)

    @functools.cached_property
    def counts(self) -> dict[str, np.ndarray]:
        """Training occurrences by row: `{feature: int64 [size]}`.

        A categorical column's are those of its vocabulary. A sequence's are
        its own: how often each row is in it, the padding (row 0) left out.
        """
        counts = {c: self.vocabularies[c].counts for c in self.vocabularies}
        for feature in self.schema.sequences:
            counts[feature] = np.zeros(
                self.vocabularies[feature].size, np.int64
            )
        if self.schema.sequences:
            for rows in self._rows["train"].batches(_COUNTING_ROWS):
                for feature, ids in rows.sequences.items():
                    size = len(counts[feature])
                    flat = np.asarray(ids).ravel()
                    counts[feature] += np.bincount(flat, minlength=size)
        for feature in self.schema.sequences:
            counts[feature][0] = 0
        return counts

    def num_rows(self, split: str) -> int:
        """Returns the number of rows of a split."""
        return len(self._split(split))

    def labels(self, split: str) -> np.ndarray:
        """Returns the labels of a split, float32 `[n]`."""
        return np.asarray(self._split(split).labels)

    def dataset(
        self,
        split: str,
        batch_size: int,
        shuffle: bool = False,
        seed: int = 0,
    ) -> tf.data.Dataset:
        """Returns a finite data set of batches.

        Args:
            split: "train", "validation" or "test".
            batch_size: Rows a batch; the last batch may hold fewer.
            shuffle: Whether to shuffle, anew at each iteration. Above 8
                million rows, small blocks of rows are shuffled and then the
                rows within windows of them, so that memory stays bounded.
            seed: Same seed, same sequence of shuffles.

        Returns:
            A `tf.data.Dataset` of `({feature: [batch]}, label [batch, 1])`:
            int32 ids, float32 numbers (NaN where missing), float32 labels. A
            sequence is int32 `[batch, length]`, 0 where padded.
        """
        import tensorflow as tf

        rows = self._split(split)
        if batch_size < 1:
            raise ValueError(
                "`batch_size` must be at least 1. Received: "
                f"batch_size={batch_size}"
            )
        epoch = 0

        def batches() -> Iterator[tuple[Any, ...]]:
            nonlocal epoch
            rng = np.random.default_rng((seed, epoch)) if shuffle else None
            epoch += 1
            for batch in rows.batches(batch_size, rng):
                sequences = map(batch.sequences.get, self.schema.sequences)
                yield batch.ids, batch.numeric, batch.labels, *sequences

        def as_features(
            ids: tf.Tensor,
            numeric: tf.Tensor,
            labels: tf.Tensor,
            *sequences: tf.Tensor,
        ) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
            columns = tf.unstack(ids, axis=1) + tf.unstack(numeric, axis=1)
            columns += sequences
            features = dict(zip(self.schema.features, columns, strict=True))
            return features, labels[:, tf.newaxis]

        signature = (
            tf.TensorSpec((None, rows.ids.shape[1]), tf.int32),
            tf.TensorSpec((None, rows.numeric.shape[1]), tf.float32),
            tf.TensorSpec((None,), tf.float32),
            *(
                tf.TensorSpec((None, rows.sequences[name].shape[1]), tf.int32)
                for name in self.schema.sequences
            ),
        )
        dataset = tf.data.Dataset.from_generator(
            batches, output_signature=signature
        )
        cardinality = -(-len(rows) // batch_size)
        # Tuning itself, an iterator that `fit` drops would wait for the tuner's
        # next turn, up to a minute.
        options = tf.data.Options()
        options.autotune.enabled = False
        return (
            dataset.map(as_features)
            .apply(tf.data.experimental.assert_cardinality(cardinality))
            .prefetch(PREFETCHED)
            .with_options(options)
        )

    def _split(self, split: str) -> Rows:
        if split not in self._rows:
            raise ValueError(
                f"`split` must be one of {SPLITS}. Received: split={split!r}"
            )
        return self._rows[split]

    def __repr__(self) -> str:
        sizes = ", ".join(f"{s} {len(r):,}" for s, r in self._rows.items())
        categorical = self.schema.categorical
        total = sum(self.vocabularies[c].size for c in categorical)
        sequences = ""
        if self.schema.sequences:
            sequences = f", {len(self.schema.sequences)} sequences"
        return (
            f"Log({self.name!r}: rows: {sizes}; "
            f"{len(categorical)} categorical columns with {total:,} "
            f"table rows, {len(self.numeric)} numeric columns{sequences})"
        )


def _encode_sequence(
    column: Any, vocabulary: Vocabulary
) -> np.ndarray | Windows:
    if isinstance(column, Windows):
        encoded = vocabulary.encode(column.stream)
        return dataclasses.replace(column, stream=encoded)
    values = np.asarray(column)
    if values.ndim != 2:
        raise ValueError(
            "A sequence must be an array [n, length] or `Windows`. Received "
            f"shape {values.shape}"
        )
    return vocabulary.encode(values.ravel()).reshape(values.shape)


def _take(rows: np.ndarray | Windows, pick: np.ndarray) -> Any:
    return rows.take(pick) if isinstance(rows, Windows) else rows[pick]


def _check_keys(argument: str, received: Any, expected: Any) -> None:
    if set(received) != set(expected):
        raise ValueError(
            f"`{argument}` must have the keys {sorted(expected)}. Received: "
            f"{sorted(received)}"
        )
