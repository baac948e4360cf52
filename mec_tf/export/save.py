"""Keras model in, SavedModel out."""

import os
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from mec_tf.compression.counting import model_bytes
from mec_tf.compression.fuse import can_fuse
from mec_tf.compression.fuse import fuse as fused_copy
from mec_tf.compression.tables import table_layers
from mec_tf.data import Vocabulary
from mec_tf.export.export_report import ExportReport
from mec_tf.export.inspect import (
    SavedModelContents,
    SavedTable,
    inspect_saved_model,
    write_tables,
)
from mec_tf.export.model_inputs import ModelInputs, model_inputs
from mec_tf.export.sample import draw_sample, raw_values
from mec_tf.export.serving_module import (
    ServingModule,
    make_signatures,
    name_outputs,
)
from mec_tf.export.target import staged
from mec_tf.export.verify import check_answers, check_bytes
from mec_tf.export.vocabulary_table import vocabulary_tables
from mec_tf.layers import TieredEmbedding
from mec_tf.layers.fused_tables import FusedTables

_SETTINGS = (
    "num_subspaces",
    "codebook_size",
    "codebook_dtype",
    "additive_dim",
    "private_rows",
    "bit_packed",
    "oov",
)


def save(
    model: tf.keras.Model,
    path: str | os.PathLike,
    *,
    vocabularies: Mapping[str, Vocabulary] | None = None,
    activation: str | None = None,
    example: Any = None,
    fuse: bool = True,
    overwrite: bool = False,
) -> ExportReport:
    """Writes a SavedModel that holds each byte once, and verifies it.

    It has two signatures with the same outputs, of any batch size:

    - "serving_default" takes raw values as they stand in the log, where
      vocabularies are given: strings, or int64 where the vocabulary holds
      integers. Missing (the empty string) and unknown values have row 0.
      Other inputs, such as float32 numbers with NaN where missing, are as in
      "ids".
    - "ids" takes what the model takes. Without vocabularies
      "serving_default" is the same.

    An input has the shape that the model gives it: `[batch]` for the ranking
    models of this package, whose ids are int32, and `[batch, length]`, of any
    length, for their sequences; a raw sequence is padded with missing or
    unknown values. Characters of its name that
    a signature cannot have become "_"; the report maps features to inputs.
    The output is float32 in the model's shape (`[batch, 1]` for a ranking
    model), named "probability" with an activation and "logits" without; a
    model that returns a dict keeps its names.

    Only variables that answering reads are written, and no custom op.

    Args:
        model: a ranking model of this package, a functional or Sequential
            model, or any other Keras model with `example`.
        path: directory to write; must not exist, or be empty.
        vocabularies: `{feature: Vocabulary}`, one for each id feature.
            Default: none.
        activation: "sigmoid", where the model answers with logits, or None
            (default).
        example: a batch as the model takes it, a dict of arrays or an array.
            Gives names, shapes and dtypes of the inputs where the model does
            not tell them, and the batch to verify on. Default: a random
            batch.
        fuse: whether the tables of a ranking model are stored and looked up
            together, as by `mec_tf.fuse`. Default True.
        overwrite: whether a SavedModel at `path` is replaced. Default False.

    Returns:
        An `ExportReport`.

    Raises:
        TypeError: if an argument is of another type.
        ValueError: if an argument does not fit the model; if the written
            model's answers differ from the model's by more than 1e-5, or its
            tables' bytes from the count by more than 5%. Nothing stays.
        FileExistsError: if `path` holds something else.
        OSError: if it cannot be written.

    Example:
        >>> report = mec_tf.export.save(
        ...     model, "serving/1", vocabularies=log.vocabularies,
        ...     activation="sigmoid",
        ... )  # doctest: +SKIP
    """
    if not isinstance(model, tf.keras.Model):
        raise TypeError(
            f"`model` must be a Keras model. Received: {type(model).__name__}"
        )
    if activation not in (None, "sigmoid"):
        raise ValueError(
            '`activation` must be "sigmoid" or None. '
            f"Received: activation={activation!r}"
        )
    inputs = model_inputs(model, example)
    names = inputs.argument_names
    vocabularies = dict(vocabularies or {})
    _check_vocabularies(vocabularies, inputs)
    sample = draw_sample(model, inputs, vocabularies, example)
    with staged(path, overwrite) as work:
        answers = model(
            inputs.pack({k: tf.constant(v) for k, v in sample.items()}),
            training=False,
        )
        expected = {
            name: tensor.numpy()
            for name, tensor in name_outputs(answers, activation).items()
        }
        if fuse and can_fuse(model):
            # Verified like any other change, by the model's own answers.
            model = fused_copy(model)
        tables = vocabulary_tables(vocabularies, work)
        signatures = make_signatures(model, inputs, tables, activation)
        module = ServingModule(model, signatures["ids"], tables)
        tf.saved_model.save(module, str(work / "model"), signatures)
        contents = _describe(module, model, work / "model")
        check_bytes(contents, model_bytes(model))
        raw = {
            name: raw_values(values, vocabularies[name])
            if name in vocabularies
            else values
            for name, values in sample.items()
        }
        worst = check_answers(
            work / "model",
            {
                "ids": {names[k]: v for k, v in sample.items()},
                "serving_default": {names[k]: v for k, v in raw.items()},
            },
            expected,
        )
        return ExportReport(
            path=os.fspath(path),
            bytes_on_disk=contents.bytes_on_disk,
            bytes_total=_total_bytes(work / "model"),
            vocabulary_bytes=sum(t.num_bytes for t in set(tables.values())),
            signatures=dict.fromkeys(
                ("serving_default", "ids"), tuple(names.values())
            ),
            inputs=names,
            max_difference=worst,
        )


def _check_vocabularies(
    vocabularies: dict[str, Vocabulary], inputs: ModelInputs
) -> None:
    if not vocabularies:
        return
    for name, vocabulary in vocabularies.items():
        if not isinstance(vocabulary, Vocabulary):
            raise TypeError(
                "`vocabularies` must hold `mec_tf.data.Vocabulary` objects. "
                f"Received: {type(vocabulary).__name__} at {name!r}"
            )
    unknown = sorted(set(vocabularies) - set(inputs.specs))
    if unknown:
        raise ValueError(
            f"`vocabularies` must be of the features {list(inputs.specs)}. "
            f"Received: {unknown}"
        )
    needed = set(inputs.rows) or {
        name for name, spec in inputs.specs.items() if spec.dtype.is_integer
    }
    missing = sorted(needed - set(vocabularies))
    if missing:
        raise ValueError(
            "`vocabularies` must have one for each id feature. Missing: "
            f"{missing}. Received: {sorted(vocabularies)}"
        )
    for name, rows in inputs.rows.items():
        if vocabularies[name].size > rows:
            raise ValueError(
                f"`vocabularies` must give {name!r} at most the {rows} rows "
                f"of its table. Received: {vocabularies[name].size} rows"
            )


def _describe(
    module: ServingModule, model: tf.keras.Model, folder: pathlib.Path
) -> SavedModelContents:
    """Adds the list of tables to a SavedModel."""
    sizes = {v.name: v.bytes for v in inspect_saved_model(folder).variables}
    variables = module.table_variables(model)
    tables = []
    for place, layer in table_layers(model).items():
        tables.append(
            SavedTable(
                path=place,
                kind=type(layer).__name__,
                rows=layer.input_dim,
                dim=layer.output_dim,
                bytes=sum(sizes[name] for name in variables[place]),
                variables=tuple(variables[place]),
                settings=_settings(layer),
            )
        )
    write_tables(folder, tables)
    return inspect_saved_model(folder)


def _settings(layer: tf.keras.layers.Layer) -> dict[str, Any]:
    """What a reader of a table's variables has to know."""
    config = layer.get_config()
    settings = {k: config[k] for k in _SETTINGS if k in config}
    if isinstance(layer, FusedTables):
        settings["tables"] = layer.describe()
    if isinstance(layer, TieredEmbedding):
        settings["tiers"] = [
            {
                "kind": type(tier).__name__,
                "rows": tier.input_dim,
                "settings": _settings(tier),
            }
            for tier in layer.tiers
        ]
    return settings


def _total_bytes(folder: pathlib.Path) -> int:
    files = (file for file in folder.rglob("*") if file.is_file())
    return int(np.sum([file.stat().st_size for file in files]))
