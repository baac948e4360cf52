"""Keras model in, SavedModel out."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import tensorflow as tf

from mec_tf.compression.fuse import can_fuse
from mec_tf.compression.fuse import fuse as fused_copy
from mec_tf.compression.tables import table_layers
from mec_tf.export.checksums import write_checksums
from mec_tf.export.export_report import ExportReport
from mec_tf.export.fold import Folded, faster
from mec_tf.export.fold import fold as folded_copy
from mec_tf.export.graph_edit import edited, plain_reads
from mec_tf.export.half_precision import TOLERANCE as HALF_TOLERANCE
from mec_tf.export.half_precision import halved
from mec_tf.export.inspect import (
    SavedModelContents,
    SavedTable,
    read_contents,
    write_tables,
)
from mec_tf.export.model_inputs import ModelInputs, model_inputs
from mec_tf.export.request_examples import served_name, write_examples
from mec_tf.export.sample import draw_sample, raw_values
from mec_tf.export.serving_module import (
    ServingModule,
    check_model,
    compiled,
    make_signatures,
    name_outputs,
    stored_bytes,
    trace_model,
)
from mec_tf.export.target import staged
from mec_tf.export.verify import (
    check_answers,
    check_bytes,
    tolerance_of,
)
from mec_tf.export.vocabulary_table import vocabulary_tables
from mec_tf.export.warmup import check_batch_sizes, write_warmup
from mec_tf.layers import TieredEmbedding
from mec_tf.layers.fused_tables import FusedTables

if TYPE_CHECKING:
    from mec_tf.data import Vocabulary

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
    fold: bool | Literal["auto"] = False,
    fold_batch: int = 1,
    jit_compile: bool = False,
    float_storage: str = "float32",
    warmup: Sequence[int] = (1, 8, 64),
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

    Only variables that answering reads are written, and no custom op. Beside
    them, in `assets.extra`, stand warm-up requests that TensorFlow Serving
    runs by itself; `examples`: a `models.config`, and requests as JSON and as
    textproto; and `SHA256SUMS`, the checksums of all files, which
    `inspect_saved_model` looks at. Requests are made of the rows of `example`,
    where it is given.

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
        fold: whether the products of codebooks and kernels that the first
            layers of the tower and of the cross network need are stored too,
            and looked up for requests of few examples (up to 10 at two codes
            a row of 40 columns). Larger requests are answered as before. They
            count as bytes of tables: for each code of a feature a row of the
            layer's width, 16 MB for 26 features of two codes out of 256 and
            a tower 300 wide. "auto" stores them where they make a request at
            least 1.05 times as fast, measured here and now, and does nothing
            for a model that cannot be folded. Default False.
        fold_batch: int, examples in the requests that "auto" measures on.
            Default 1.
        jit_compile: whether XLA compiles the signatures, raw values aside.
            Each batch size is compiled when it is first seen: serve few, and
            name them in `warmup`. Default False.
        float_storage: "float32" (default), or "float16": float32 matrices
            (kernels, tables, codebooks) are stored as float16, and computed
            with in float32. Answers may then differ by 5e-3 times the
            largest.
        warmup: batch sizes of the warm-up requests, for each signature.
            Default 1, 8 and 64; `()` writes none.
        overwrite: whether a SavedModel at `path` is replaced. Default False.

    Returns:
        An `ExportReport`.

    Raises:
        TypeError: if an argument is of another type.
        ValueError: if an argument does not fit the model; if the written
            model's answers differ from the model's by more than 1e-5 times
            the largest (with float16: 5e-3), or its tables' bytes from the
            count by more than 5%. Nothing stays.
        NotImplementedError: if `jit_compile` is set for a table with
            `oov="error"`.
        FileExistsError: if `path` holds something else.
        OSError: if it cannot be written.

    Example:
        >>> report = mec_tf.export.save(
        ...     model, "serving/1", vocabularies=log.vocabularies,
        ...     activation="sigmoid",
        ... )  # doctest: +SKIP
    """
    check_model(model, activation)
    if float_storage not in ("float32", "float16"):
        raise ValueError(
            '`float_storage` must be "float32" or "float16". '
            f"Received: float_storage={float_storage!r}"
        )
    if fold not in (True, False, "auto") or fold_batch < 1:
        raise ValueError(
            '`fold` must be True, False or "auto", and `fold_batch` at least '
            f"1. Received: fold={fold!r}, fold_batch={fold_batch!r}"
        )
    if fold and jit_compile:
        raise ValueError(
            "`fold` must be False where `jit_compile` is True: XLA multiplies. "
            f"Received: fold={fold!r}"
        )
    warmup = check_batch_sizes(warmup)
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
        folded = Folded(model, {})
        if fold:
            folded = _fold(model, inputs, sample, fold, fold_batch)
            model = folded.model
        tables = vocabulary_tables(vocabularies, work)
        traced = trace_model(model, inputs, activation, jit_compile)
        half = float_storage == "float16"
        stored = halved(plain_reads(traced)) if half else {}
        module = ServingModule(model, traced, tables, stored)
        answer_ids = edited(traced, stored) if stored else traced
        if stored and jit_compile:
            answer_ids = compiled(answer_ids)
        signatures = make_signatures(answer_ids, inputs, tables)
        # Gradients of layers in training may reach variables that answers
        # do not, which are not in the module.
        options = tf.saved_model.SaveOptions(
            experimental_custom_gradients=False
        )
        tf.saved_model.save(module, str(work / "model"), signatures, options)
        contents = _describe(module, folded, work / "model")
        # Products stay float32: they are read in one branch of two.
        counted = {**stored_bytes(model, stored), **folded.bytes}
        check_bytes(contents, counted)
        values_of_log = {
            name: raw_values(values, vocabularies[name])
            if name in vocabularies
            else values
            for name, values in sample.items()
        }
        requests = {
            "ids": {names[k]: v for k, v in sample.items()},
            "serving_default": {names[k]: v for k, v in values_of_log.items()},
        }
        try:
            worst = check_answers(
                work / "model",
                requests,
                expected,
                max(HALF_TOLERANCE if half else 0.0, tolerance_of(model)),
            )
        except tf.errors.OpError as error:
            if not jit_compile:
                raise
            raise ValueError(
                "`jit_compile` must be False for a model that XLA cannot "
                f"compile. Received: jit_compile=True ({error.message})"
            ) from error
        name = served_name(path)
        write_warmup(work / "model", name, requests, warmup)
        write_examples(work / "model", name, requests, expected)
        write_checksums(work / "model")
        return ExportReport(
            path=os.fspath(path),
            bytes_on_disk=contents.bytes_on_disk,
            dense_bytes=sum(v.bytes for v in contents.variables)
            - contents.bytes_on_disk,
            bytes_total=_total_bytes(work / "model"),
            vocabulary_bytes=sum(t.num_bytes for t in set(tables.values())),
            signatures=dict.fromkeys(
                ("serving_default", "ids"), tuple(names.values())
            ),
            inputs=names,
            max_difference=worst,
            folded_bytes=sum(folded.bytes.values()),
        )


def _check_vocabularies(
    vocabularies: dict[str, Vocabulary], inputs: ModelInputs
) -> None:
    if not vocabularies:
        return
    from mec_tf.data import Vocabulary  # reads pyarrow

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


def _fold(
    model: tf.keras.Model,
    inputs: ModelInputs,
    sample: Mapping[str, np.ndarray],
    fold: bool | str,
    batch: int,
) -> Folded:
    """`model` folded; for "auto" as it is where that is not faster."""
    try:
        folded = folded_copy(model)
    except ValueError:
        if fold == "auto":
            return Folded(model, {})
        raise
    if fold == "auto":
        # Verified on the signatures; measured on the model alone.
        plain, other = (
            trace_model(one, inputs, None) for one in (model, folded.model)
        )
        names = inputs.argument_names
        request = {
            names[feature]: tf.constant(values[np.arange(batch) % len(values)])
            for feature, values in sample.items()
        }
        if not faster(plain, other, request):
            return Folded(model, {})
    return folded


def _describe(
    module: ServingModule, folded: Folded, folder: pathlib.Path
) -> SavedModelContents:
    """Adds the list of tables to a SavedModel."""
    model = folded.model
    sizes = {v.name: v.bytes for v in read_contents(folder).variables}
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
    for place, variable in folded.products.items():
        tables.append(
            SavedTable(
                path=place,
                kind="FoldedProducts",
                rows=0,  # of a full-precision table it holds none
                dim=variable.shape[1],
                bytes=sizes[place],
                variables=(place,),
                settings={},
            )
        )
    write_tables(folder, tables)
    return read_contents(folder)


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
