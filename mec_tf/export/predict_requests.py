"""Requests to a signature, as TensorFlow Serving takes them."""

import base64
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from mec_tf.export.serving_protos import message

Arrays = Mapping[str, np.ndarray]

# Typed fields read better than the bytes that `tf.make_tensor_proto` packs.
_FIELDS = {
    tf.int32: "int_val",
    tf.int64: "int64_val",
    tf.float32: "float_val",
    tf.float64: "double_val",
    tf.bool: "bool_val",
    tf.string: "string_val",
}


def first_rows(arrays: Arrays, rows: int) -> dict[str, np.ndarray]:
    """A batch of some size, of a sample's rows, repeated where it ends."""
    return {
        name: array[np.arange(rows) % len(array)]
        for name, array in arrays.items()
    }


def predict_request(name: str, signature: str, arrays: Arrays) -> Any:
    """A `tensorflow.serving.PredictRequest`.

    Args:
        name: the model's name in the server.
        signature: of the model.
        arrays: `{input: [batch, ...]}`.
    """
    request = message("PredictRequest")
    request.model_spec.name = name
    request.model_spec.signature_name = signature
    for key, array in arrays.items():
        proto = _tensor_proto(array)
        # Of the same type, in another pool.
        request.inputs[key].ParseFromString(proto.SerializeToString())
    return request


def json_rows(arrays: Arrays) -> list[dict[str, Any]]:
    """The rows of a batch as TensorFlow Serving's REST API takes them."""
    rows = len(next(iter(arrays.values())))
    return [
        {name: _json_value(array[row]) for name, array in arrays.items()}
        for row in range(rows)
    ]


def _tensor_proto(array: np.ndarray) -> Any:
    dtype = tf.as_dtype(tf.string if array.dtype.kind in "OUS" else array.dtype)
    if dtype not in _FIELDS:
        return tf.make_tensor_proto(array)
    proto = tf.make_tensor_proto([], dtype, [0])
    proto.tensor_shape.CopyFrom(tf.TensorShape(array.shape).as_proto())
    values = array.reshape(-1).tolist()
    if dtype == tf.string:
        values = [v.encode() if isinstance(v, str) else v for v in values]
    getattr(proto, _FIELDS[dtype]).extend(values)
    return proto


def _json_value(value: Any) -> Any:
    value = value.tolist() if hasattr(value, "tolist") else value
    if isinstance(value, list):
        return [_json_value(part) for part in value]
    if not isinstance(value, bytes):
        return value
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"b64": base64.b64encode(value).decode()}
