"""SavedModels for TensorFlow Serving, each byte stored once."""

from mec_tf.export.export_report import ExportReport
from mec_tf.export.inspect import (
    SavedModelContents,
    SavedTable,
    SavedVariable,
    inspect_saved_model,
)
from mec_tf.export.save import save

__all__ = [
    "ExportReport",
    "SavedModelContents",
    "SavedTable",
    "SavedVariable",
    "inspect_saved_model",
    "save",
]
