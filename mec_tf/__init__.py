"""Embedding compression for TensorFlow recommenders."""

from mec_tf import compression, data, export, layers, losses, models
from mec_tf.compression import (
    CompressionPolicy,
    TableSettings,
    compress,
    plan,
)
from mec_tf.version import __version__

__all__ = [
    "CompressionPolicy",
    "TableSettings",
    "__version__",
    "compress",
    "compression",
    "data",
    "export",
    "layers",
    "losses",
    "models",
    "plan",
]
