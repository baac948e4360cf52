"""The ways to store a table, one class each."""

from mec_tf.compression.settings.base import Settings
from mec_tf.compression.settings.composed_settings import ComposedSettings
from mec_tf.compression.settings.dense_settings import DenseSettings
from mec_tf.compression.settings.hashed_settings import HashedSettings
from mec_tf.compression.settings.integer_settings import IntegerSettings
from mec_tf.compression.settings.low_rank_settings import LowRankSettings
from mec_tf.compression.settings.pruned_settings import PrunedSettings
from mec_tf.compression.settings.table_settings import LEAVE, TableSettings

__all__ = [
    "ComposedSettings",
    "DenseSettings",
    "HashedSettings",
    "IntegerSettings",
    "LEAVE",
    "LowRankSettings",
    "PrunedSettings",
    "Settings",
    "TableSettings",
]
