"""Embedding compression for TensorFlow recommenders."""

from mec_tf import compression, data, export, layers, losses, models
from mec_tf.compression import (
    ArtifactError,
    CompressionPolicy,
    EmbeddingCodes,
    TableSettings,
    apply_codes,
    compress,
    plan,
)
from mec_tf.version import __version__

__all__ = [
    "ArtifactError",
    "CompressionPolicy",
    "EmbeddingCodes",
    "TableSettings",
    "__version__",
    "apply_codes",
    "compress",
    "compression",
    "data",
    "export",
    "layers",
    "losses",
    "models",
    "plan",
]
