"""Requests that TensorFlow Serving runs before it serves a model."""

import pathlib
from collections.abc import Mapping, Sequence

import tensorflow as tf

from mec_tf.export.predict_requests import Arrays, first_rows, predict_request
from mec_tf.export.serving_protos import message

WARMUP_FILE = "assets.extra/tf_serving_warmup_requests"
_MOST = 1000  # that TensorFlow Serving takes


def check_batch_sizes(sizes: Sequence[int]) -> tuple[int, ...]:
    """The batch sizes of the warm-up, checked.

    Raises:
        ValueError: unless they are integers of at least 1, at most 500.
    """
    whole = not isinstance(sizes, (str, bytes)) and all(
        isinstance(size, int) and not isinstance(size, bool) and size > 0
        for size in sizes
    )
    if not whole or 2 * len(sizes) > _MOST:
        raise ValueError(
            "`warmup` must be at most 500 batch sizes, integers of at least "
            f"1. Received: warmup={sizes!r}"
        )
    return tuple(sizes)


def write_warmup(
    folder: pathlib.Path,
    name: str,
    requests: Mapping[str, Arrays],
    sizes: Sequence[int],
) -> None:
    """Writes a request for each signature and batch size.

    Args:
        folder: the SavedModel.
        name: the model's name in the server.
        requests: `{signature: {input: [batch, ...]}}`; rows are repeated
            where a batch is larger.
        sizes: batch sizes; without any no file is written.
    """
    if not sizes:
        return
    file = folder / WARMUP_FILE
    file.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(file)) as writer:
        for signature, arrays in requests.items():
            for size in sizes:
                log = message("PredictionLog")
                log.predict_log.request.CopyFrom(
                    predict_request(name, signature, first_rows(arrays, size))
                )
                writer.write(log.SerializeToString(deterministic=True))
