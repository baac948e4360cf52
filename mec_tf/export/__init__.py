"""SavedModels for TensorFlow Serving, each byte stored once; LiteRT files."""

from mec_tf.export.apply_delta import apply_delta
from mec_tf.export.delta_report import DeltaReport
from mec_tf.export.export_report import ExportReport
from mec_tf.export.inspect import (
    SavedModelContents,
    SavedTable,
    SavedVariable,
    inspect_saved_model,
)
from mec_tf.export.keras_file import load_keras, save_keras
from mec_tf.export.litert_report import LiteRTReport
from mec_tf.export.save import save
from mec_tf.export.save_delta import save_delta
from mec_tf.export.save_litert import save_litert

__all__ = [
    "DeltaReport",
    "ExportReport",
    "LiteRTReport",
    "SavedModelContents",
    "SavedTable",
    "SavedVariable",
    "apply_delta",
    "inspect_saved_model",
    "load_keras",
    "save",
    "save_delta",
    "save_keras",
    "save_litert",
]
