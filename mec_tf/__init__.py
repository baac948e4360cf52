"""Embedding compression for TensorFlow recommenders."""

from mec_tf import compression, data, export, layers, losses, models, training
from mec_tf.compression import (
    ArtifactError,
    CompressionPolicy,
    EmbeddingCodes,
    TableSettings,
    apply_codes,
    compress,
    encode_new_rows,
    fuse,
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
    "encode_new_rows",
    "export",
    "fuse",
    "layers",
    "losses",
    "models",
    "plan",
    "training",
]
