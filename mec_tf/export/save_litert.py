"""Keras model in, LiteRT file out."""

import os
import pathlib
import re
import warnings
from typing import Any

import numpy as np
import tensorflow as tf

from mec_tf.compression.counting import model_bytes
from mec_tf.compression.fuse import can_fuse
from mec_tf.compression.fuse import fuse as fused_copy
from mec_tf.export.graph_edit import edited, plain_reads
from mec_tf.export.litert_report import LiteRTReport
from mec_tf.export.litert_storage import OPS, storable
from mec_tf.export.model_inputs import model_inputs
from mec_tf.export.sample import draw_sample
from mec_tf.export.serving_module import (
    ServingModule,
    check_model,
    name_outputs,
    stored_bytes,
    trace_model,
)
from mec_tf.export.verify import TOLERANCE, difference
from mec_tf.files import replacing

_LARGEST = 2**31 - 1  # bytes of a LiteRT file


def save_litert(
    model: tf.keras.Model,
    path: str | os.PathLike,
    *,
    activation: str | None = None,
    example: Any = None,
    fuse: bool = True,
    overwrite: bool = False,
) -> LiteRTReport:
    """Writes a LiteRT (`.tflite`) file of built-in ops, and verifies it.

    Its one signature, "serving_default", is the signature "ids" of `save`:
    it takes what the model takes, in any batch size. Codes keep their bytes:
    8-bit and bit-packed ones as they are, 16-bit ones as int16 of the same
    bits. LiteRT gathers no float16, so float16 codebooks become float32;
    `widened_bytes` of the report says how much that is.

    Args:
        model: as in `save`.
        path: file to write.
        activation: "sigmoid", where the model answers with logits, or None
            (default).
        example: a batch as the model takes it, as in `save`.
        fuse: whether the tables of a ranking model are looked up together,
            as by `mec_tf.fuse`. Default True.
        overwrite: whether a file at `path` is replaced. Default False.

    Returns:
        A `LiteRTReport`.

    Raises:
        TypeError: if an argument is of another type.
        ValueError: if LiteRT has no built-in op for one of the model's, or
            its answers differ from the model's by more than 1e-5 times the
            largest, or the file would be larger than its weights (by 5% and
            1 MiB) or than 2 GiB.
        FileExistsError: if `path` exists.
        OSError: if it cannot be written.

    Example:
        >>> report = mec_tf.export.save_litert(
        ...     model, "model.tflite", activation="sigmoid"
        ... )  # doctest: +SKIP
    """
    check_model(model, activation)
    target = pathlib.Path(path)
    if target.is_dir() or (target.exists() and not overwrite):
        raise FileExistsError(f"`path` must be new. Received: {path}")
    inputs = model_inputs(model, example)
    sample = draw_sample(model, inputs, {}, example)
    names = inputs.argument_names
    answers = model(
        inputs.pack({k: tf.constant(v) for k, v in sample.items()}),
        training=False,
    )
    expected = {
        name: tensor.numpy()
        for name, tensor in name_outputs(answers, activation).items()
    }
    if fuse and can_fuse(model):
        model = fused_copy(model)
    traced = trace_model(model, inputs, activation)
    stored = storable(plain_reads(traced))
    weights = sum(
        stored[id(v.handle)].variable.numpy().nbytes
        if id(v.handle) in stored
        else v.dtype.size * v.shape.num_elements()
        for v in traced.variables
    )
    if weights > _LARGEST:
        raise ValueError(
            f"`model` must hold at most {_LARGEST:,} bytes for LiteRT. "
            f"Received: {weights:,} bytes"
        )
    function = edited(traced, stored, OPS)
    content = _convert(function, ServingModule(model, traced, {}, stored))
    _check_size(len(content), weights)
    requests = {names[name]: values for name, values in sample.items()}
    worst = _check_answers(content, requests, expected)
    target.parent.mkdir(parents=True, exist_ok=True)
    with replacing(target) as fresh:
        fresh.write_bytes(content)
    tables = stored_bytes(model, stored)
    return LiteRTReport(
        path=os.fspath(path),
        table_bytes=sum(tables.values()),
        bytes_total=len(content),
        widened_bytes=sum(tables.values()) - sum(model_bytes(model).values()),
        inputs=names,
        max_difference=worst,
    )


def _convert(function: Any, module: tf.Module) -> bytes:
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [function], module
    )
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    try:
        return converter.convert()
    # The converter's own error is no public class.
    except Exception as error:
        found = re.search(r"(?:TF Select|Custom) ops: (.*)", str(error))
        what = found[1] if found else " ".join(str(error).split())[:200]
        raise ValueError(
            f"`model` must use ops that are built into LiteRT. Received: {what}"
        ) from error


def _check_size(size: int, weights: int) -> None:
    if size > 1.05 * weights + (1 << 20):
        raise ValueError(
            "`model` must be stored once. Received: weights of "
            f"{weights:,} bytes in a file of {size:,} bytes"
        )


def _check_answers(
    content: bytes,
    requests: dict[str, np.ndarray],
    expected: dict[str, np.ndarray],
) -> float:
    with warnings.catch_warnings():
        # Of its move to another package, on every use.
        warnings.simplefilter("ignore", UserWarning)
        interpreter = tf.lite.Interpreter(model_content=content)
    run = interpreter.get_signature_runner("serving_default")
    worst = 0.0
    for rows in (slice(None), slice(1)):
        batch = {name: values[rows] for name, values in requests.items()}
        answers = run(**batch)
        for name, values in expected.items():
            gap = difference(
                answers[name], values[rows], TOLERANCE, f"output {name!r}"
            )
            worst = max(worst, gap)
    return worst
