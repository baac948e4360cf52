"""Reads a log of any size into a cache of ids."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import shutil
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from mec_tf.data.infer_schema import is_text, require, schema_of_types
from mec_tf.data.log import SPLITS, Log
from mec_tf.data.numeric_stats import NumericStats
from mec_tf.data.rows import Rows
from mec_tf.data.schema import Schema
from mec_tf.data.source import Block, Derive, Paths, Source, merge_blocks
from mec_tf.data.splits import Assign, RandomSplit, Split
from mec_tf.data.storage import (
    HEADER_FILE,
    RowsWriter,
    read_header,
    vocabulary_path,
    write_header,
)
from mec_tf.data.survey import Survey, numbers
from mec_tf.data.vocabulary import ARROW_TYPES, Vocabulary
from mec_tf.files import naming_full_disk

_MAX_MERGED_ROWS = 1 << 18


def read_log(
    paths: Paths,
    label: str,
    *,
    cache_dir: str | os.PathLike,
    schema: Schema | None = None,
    numeric: Sequence[str] = (),
    strings: Sequence[str] = (),
    drop: Sequence[str] = (),
    min_count: int = 1,
    split: Split | None = None,
    name: str | None = None,
    delimiter: str | None = None,
    column_names: Sequence[str] | None = None,
    derive: Derive | None = None,
    progress: bool = True,
) -> Log:
    """Reads CSV or Parquet files into a log on disk.

    The files are streamed twice: once to check them and to count, once to
    encode. Memory is bounded by a block and the vocabularies. Missing ids
    (nulls, empty text) have row 0, missing numbers are NaN.

    The result is kept in `cache_dir` and found there again when files and
    settings are unchanged; a log of other settings is replaced. An
    interrupted run leaves at most `<cache_dir>.partial`, which the next run
    removes.

    Args:
        paths: A file, several, or a directory (its files by name). Known
            endings: .csv, .tsv, .txt, each also with .gz; .parquet, .pq.
        label: Column of 0 and 1 to predict.
        cache_dir: Directory of the result.
        schema: The columns, without sequences, which files cannot hold. By
            default as `infer_schema` finds them.
        numeric: Columns of whole numbers that are quantities, not ids; only
            without `schema`.
        strings: Columns that are text, whatever they look like; only without
            `schema`.
        drop: Columns to leave out.
        min_count: Values seen less often in training share row 0. Defaults
            to 1.
        split: A `RandomSplit` (default), `TemporalSplit`, `ByValueSplit` or
            `FileSplit`.
        name: Of the data set; by default that of the first path.
        delimiter: Of text files; by default a comma for .csv, else a tab.
        column_names: Of text files without a header line.
        derive: Columns made from others, `{new: (column, function)}`; the
            function takes an Arrow array of the column's text and returns an
            array of that length.
        progress: Whether to show progress bars.

    Returns:
        A memory-mapped `Log`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If a file is empty, damaged or of another kind; a column
            is missing, holds one value only or values that are not of its
            kind; the label is not 0 and 1; a split is empty; a file changes
            while it is read; or `cache_dir` holds something else. It names
            file, row and column where these are known: the row is the line
            of a text file, or the number, from 1, of a Parquet file's row.
            Nothing is left behind.
    """
    if min_count < 1:
        raise ValueError(
            f"`min_count` must be at least 1. Received: min_count={min_count}"
        )
    if schema is not None and (numeric or strings):
        raise ValueError(
            "`numeric` and `strings` must not be given beside `schema`, which "
            f"holds them. Received: numeric={numeric}, strings={strings}"
        )
    if schema is not None and schema.label != label:
        raise ValueError(
            f"`label` must be the schema's, {schema.label!r}. Received: "
            f"label={label!r}"
        )
    if schema is not None and schema.sequences:
        raise ValueError(
            "`schema` must name no sequences, which files cannot hold. "
            f"Received: sequences={dict(schema.sequences)}"
        )
    split = RandomSplit() if split is None else split
    source = Source(paths, delimiter, column_names, derive)
    if name is None:
        first = paths if isinstance(paths, str | os.PathLike) else paths[0]
        name = pathlib.Path(first).resolve().name.split(".")[0]
    settings = {
        "source": source.fingerprint(),
        "label": label,
        "schema": None if schema is None else schema.to_dict(),
        "numeric": list(numeric),
        "strings": list(strings),
        "drop": list(drop),
        "min_count": min_count,
        "split": repr(split),
        "name": name,
    }
    folder = pathlib.Path(cache_dir)
    if _is_cached(folder, settings):
        return Log.load(folder)

    types = source.types()
    if schema is None:
        schema = schema_of_types(
            types, label, numeric, strings, drop, file=source.files[0]
        )
    else:
        file = source.files[0]
        require(types, "drop", drop, file)
        schema = _with_strings(schema.drop(tuple(drop)), types, file)
    read = _read_types(schema, types, split, source.files[0])
    assign = split.fit(source, schema.timestamp, progress)
    survey = Survey(schema, source)
    for block in source.blocks(read, "Counting values", progress):
        survey.update(block, assign(block))
    survey.check()
    vocabularies = survey.vocabularies(min_count)
    stats = survey.numeric_stats()
    del survey  # Its counts are as large as the vocabularies.

    partial = folder.with_name(f"{folder.name}.partial")
    if partial.exists():
        shutil.rmtree(partial)
    try:
        with naming_full_disk(folder):
            entries = _encode(
                source.blocks(read, "Encoding rows", progress),
                assign,
                schema,
                vocabularies,
                partial,
            )
            source.check_unchanged()
            _finish(
                partial, name, schema, vocabularies, stats, entries, settings
            )
        if folder.exists():  # A log of other settings, or an empty directory.
            os.replace(folder, partial / "replaced")
            shutil.rmtree(partial / "replaced")
        os.replace(partial, folder)
    except BaseException as error:
        shutil.rmtree(partial, ignore_errors=True)
        if isinstance(error, ValueError):  # Due to a change, perhaps.
            source.check_unchanged()
        raise
    return Log.load(folder)


def _is_cached(folder: pathlib.Path, settings: dict[str, Any]) -> bool:
    if not folder.exists():
        return False
    if not folder.is_dir() or (
        any(folder.iterdir()) and not (folder / HEADER_FILE).is_file()
    ):
        raise ValueError(
            "`cache_dir` must be new, empty, or hold a log. Received: "
            f"{folder}, which holds something else"
        )
    try:
        return read_header(folder).get("settings") == settings
    except (FileNotFoundError, ValueError):
        return False


def _with_strings(
    schema: Schema, types: dict[str, pa.DataType], file: pathlib.Path
) -> Schema:
    require(types, "label", [schema.label], file)
    require(types, "schema", schema.features, file)
    if schema.timestamp is not None:
        require(types, "schema", [schema.timestamp], file)
    if schema.strings is not None:
        return schema
    text = tuple(c for c in schema.categorical if is_text(types[c]))
    return dataclasses.replace(schema, strings=text)


def _read_types(
    schema: Schema,
    types: dict[str, pa.DataType],
    split: Split,
    file: pathlib.Path,
) -> dict[str, pa.DataType]:
    """Chooses the type to parse each column as, if it is text."""
    columns = split.columns(schema.timestamp)
    require(types, "split", columns, file)
    read = {column: types[column] for column in columns}
    kind = types[schema.label]
    if pa.types.is_integer(kind) or pa.types.is_null(kind):
        read[schema.label] = pa.float64()
    else:
        read[schema.label] = kind
    for column in schema.numeric:
        read.setdefault(column, pa.float64())
    for column in schema.categorical:
        if column in (schema.strings or ()):
            kind = ARROW_TYPES["string"]
        elif pa.types.is_floating(types[column]):
            kind = pa.float64()  # Whole numbers written as 3.0, perhaps.
        else:
            kind = ARROW_TYPES["int64"]
        # The split needs the type that it was fitted with.
        read.setdefault(column, kind)
    return read


def _encode(
    blocks: Iterable[Block],
    assign: Assign,
    schema: Schema,
    vocabularies: dict[str, Vocabulary],
    folder: pathlib.Path,
) -> dict[str, Any]:
    # A look-up indexes the whole vocabulary anew: let it serve many rows.
    largest = max([v.size for v in vocabularies.values()], default=0)
    blocks = merge_blocks(blocks, min(largest, _MAX_MERGED_ROWS))
    writers = {split: RowsWriter(folder / split) for split in SPLITS}
    for block in blocks:
        rows = _encode_block(block, schema, vocabularies)
        codes = assign(block)
        for i, split in enumerate(SPLITS):
            pick = np.flatnonzero(codes == i)
            writers[split].append(
                Rows(rows.ids[pick], rows.numeric[pick], rows.labels[pick])
            )
    return {split: writer.close() for split, writer in writers.items()}


def _encode_block(
    block: Block, schema: Schema, vocabularies: dict[str, Vocabulary]
) -> Rows:
    ids = np.empty((len(block), len(schema.categorical)), np.int32)
    for i, column in enumerate(schema.categorical):
        ids[:, i] = vocabularies[column].encode(block.columns[column])
    numeric = np.empty((len(block), len(schema.numeric)), np.float32)
    for i, column in enumerate(schema.numeric):
        numeric[:, i] = numbers(block.columns[column])
    labels = numbers(block.columns[schema.label])
    return Rows(ids, numeric, labels)


def _finish(
    folder: pathlib.Path,
    name: str,
    schema: Schema,
    vocabularies: dict[str, Vocabulary],
    stats: dict[str, NumericStats],
    entries: dict[str, Any],
    settings: dict[str, Any],
) -> None:
    vocabulary_path(folder, 0).parent.mkdir()
    for i, column in enumerate(schema.categorical):
        vocabularies[column].save(vocabulary_path(folder, i))
    write_header(
        folder,
        {
            "name": name,
            "schema": schema.to_dict(),
            "vocabulary_sizes": [
                vocabularies[column].size for column in schema.categorical
            ],
            "numeric": {c: dataclasses.asdict(s) for c, s in stats.items()},
            "splits": entries,
            "settings": settings,
        },
    )
