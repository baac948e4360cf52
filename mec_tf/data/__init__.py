"""From logs to ids: readers, vocabularies, splits and data sets."""

from mec_tf.data.flights import flights
from mec_tf.data.infer_schema import infer_schema
from mec_tf.data.interactions import interactions
from mec_tf.data.layouts import avazu, avazu_x1, criteo, criteo_x1
from mec_tf.data.log import Log
from mec_tf.data.numeric_stats import NumericStats
from mec_tf.data.read_log import read_log
from mec_tf.data.rows import Rows
from mec_tf.data.schema import Schema
from mec_tf.data.splits import (
    ByValueSplit,
    FileSplit,
    RandomSplit,
    Split,
    TemporalSplit,
)
from mec_tf.data.vocabulary import Vocabulary
from mec_tf.data.windows import Windows

__all__ = [
    "ByValueSplit",
    "FileSplit",
    "Log",
    "NumericStats",
    "RandomSplit",
    "Rows",
    "Schema",
    "Split",
    "TemporalSplit",
    "Vocabulary",
    "Windows",
    "avazu",
    "avazu_x1",
    "criteo",
    "criteo_x1",
    "flights",
    "infer_schema",
    "interactions",
    "read_log",
]
