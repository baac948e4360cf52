"""Values for TensorBoard, written without having it installed.

`tf.summary.scalar`, `histogram` and `text` are parts of the `tensorboard`
package, which TensorFlow no longer brings; `tf.summary.write` is TensorFlow's.
"""

import numpy as np
import tensorflow as tf

BUCKETS = 30


def scalar(name: str, value: float) -> None:
    """Writes a number with the default writer, at its step."""
    metadata = _metadata("scalars", "DATA_CLASS_SCALAR")
    tf.summary.write(name, tf.constant(value, tf.float32), metadata=metadata)


def histogram(name: str, values: np.ndarray) -> None:
    """Writes how values spread: 30 buckets of `(left, right, count)`."""
    counts, edges = np.histogram(np.ravel(values), BUCKETS)
    buckets = np.stack([edges[:-1], edges[1:], counts], axis=1)
    metadata = _metadata("histograms", "DATA_CLASS_TENSOR")
    tf.summary.write(name, tf.constant(buckets, tf.float64), metadata=metadata)


def text(name: str, markdown: str) -> None:
    """Writes a text in Markdown."""
    metadata = _metadata("text", "DATA_CLASS_TENSOR")
    tf.summary.write(name, tf.constant(markdown), metadata=metadata)


def _metadata(plugin: str, data_class: str) -> tf.compat.v1.SummaryMetadata:
    # Empty content is version 0 of each plugin's own message.
    metadata = tf.compat.v1.SummaryMetadata()
    metadata.plugin_data.plugin_name = plugin
    kinds = type(metadata).DESCRIPTOR.fields_by_name["data_class"].enum_type
    metadata.data_class = kinds.values_by_name[data_class].number
    return metadata
