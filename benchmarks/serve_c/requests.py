"""Requests as files that the C program reads."""

import os
import pathlib
from collections.abc import Mapping

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

TYPES = {"int32": np.int32, "int64": np.int64, "float": np.float32}


def write_requests(
    folder: str | os.PathLike,
    model: str | os.PathLike,
    batch: Mapping[str, np.ndarray],
    signature: str = "serving_default",
    output: str | None = None,
) -> pathlib.Path:
    """Writes a batch for one signature of a SavedModel.

    Args:
        folder: where the files go; made if missing.
        model: folder of the SavedModel.
        batch: `{input of the signature: [rows]}`, numbers or strings.
        signature: name of the signature.
        output: name of the output. Default: the only one.

    Returns:
        The file of requests.

    Raises:
        ValueError: if the inputs are not the signature's, or `output` is
            needed and missing.
    """
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    saved = saved_model_pb2.SavedModel()
    saved.ParseFromString((pathlib.Path(model) / "saved_model.pb").read_bytes())
    definition = saved.meta_graphs[0].signature_def[signature]
    if set(batch) != set(definition.inputs):
        raise ValueError(
            f"`batch` must hold the inputs {sorted(definition.inputs)}. "
            f"Received: {sorted(batch)}"
        )
    if output is None and len(definition.outputs) > 1:
        raise ValueError(
            f"`output` must be one of {sorted(definition.outputs)}. "
            "Received: None"
        )
    answer = definition.outputs[output or next(iter(definition.outputs))]
    rows = len(next(iter(batch.values())))
    lines = [f"output {answer.name}", f"rows {rows}"]
    for place, (name, values) in enumerate(batch.items()):
        tensor = definition.inputs[name]
        dtype = tf.as_dtype(tensor.dtype)
        kind = "float" if dtype == tf.float32 else dtype.name
        if kind == "string":
            content = b"".join(_bytes(value) + b"\0" for value in values)
        else:
            content = np.ascontiguousarray(values, TYPES[kind]).tobytes()
        (folder / f"{place}.bin").write_bytes(content)
        lines.append(f"input {tensor.name} {kind} {place}.bin")
    path = folder / "requests.txt"
    path.write_text("\n".join(lines) + "\n")
    return path


def write_answers(
    folder: str | os.PathLike,
    answers: Mapping[int, np.ndarray],
    shares: Mapping[int, int],
) -> pathlib.Path:
    """Writes what the program's `--load` expects.

    Args:
        folder: where the files go; made if missing.
        answers: `{rows of a request: float32 [rows, width]}`, the answers to
            all requests of that size, in the order of the rows.
        shares: `{rows of a request: how many come among the others}`.

    Returns:
        The file of sizes.
    """
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for size, values in answers.items():
        np.ascontiguousarray(values, np.float32).tofile(
            folder / f"answers_{size}.bin"
        )
        lines.append(f"{size} {shares[size]} answers_{size}.bin")
    path = folder / "load.txt"
    path.write_text("\n".join(lines) + "\n")
    return path


def _bytes(value: str | bytes) -> bytes:
    return value.encode() if isinstance(value, str) else bytes(value)
