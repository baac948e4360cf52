"""Embedding compression for TensorFlow recommenders."""

import importlib
from types import ModuleType
from typing import TYPE_CHECKING

from mec_tf import (
    compression,
    export,
    layers,
    losses,
    models,
    report,
    training,
)
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

if TYPE_CHECKING:
    from mec_tf import data

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
    "report",
    "training",
]


def __getattr__(name: str) -> ModuleType:
    """Imports `data` when it is first used: a server needs no reader."""
    if name == "data":
        return importlib.import_module("mec_tf.data")
    raise AttributeError(f"module 'mec_tf' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
