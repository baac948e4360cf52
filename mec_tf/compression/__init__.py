"""Whole models: find tables, plan, train, freeze, report."""

from mec_tf.compression.apply_codes import apply_codes
from mec_tf.compression.commitment import matched_commitment
from mec_tf.compression.compress import CompressionResult, compress, plan
from mec_tf.compression.count_files import count_files
from mec_tf.compression.counting import full_bytes, layer_bytes, model_bytes
from mec_tf.compression.dense_report import DenseReport
from mec_tf.compression.dense_statistics import dense_layers, dense_statistics
from mec_tf.compression.distill import with_answers
from mec_tf.compression.drift import DriftReport, TierDrift, drift_report
from mec_tf.compression.embedding_codes import EmbeddingCodes
from mec_tf.compression.encode_ranges import encode_ranges
from mec_tf.compression.fold_low_rank import fold_low_rank
from mec_tf.compression.fuse import fuse
from mec_tf.compression.hashing import HASHING_METHODS, hashed_layers
from mec_tf.compression.low_rank import low_rank_dense
from mec_tf.compression.methods import METHODS
from mec_tf.compression.more_rows import encode_new_rows
from mec_tf.compression.new_rows import fit_new_rows, grow
from mec_tf.compression.plan import (
    CompressionPlan,
    PlannedTable,
    check_budget,
    make_plan,
)
from mec_tf.compression.policy import CompressionPolicy
from mec_tf.compression.report import CompressionReport, TableReport
from mec_tf.compression.settings import (
    ComposedSettings,
    DenseSettings,
    HashedSettings,
    IntegerSettings,
    LowRankSettings,
    PrunedSettings,
    Settings,
    TableSettings,
)
from mec_tf.compression.stored_table import StoredTable
from mec_tf.compression.table_files import compress_table, read_table
from mec_tf.compression.table_losses import table_losses
from mec_tf.compression.tables import Table, find_tables
from mec_tf.files import ArtifactError
from mec_tf.quantizers import OutputStatistics

__all__ = [
    "ArtifactError",
    "CompressionPlan",
    "CompressionPolicy",
    "CompressionReport",
    "CompressionResult",
    "ComposedSettings",
    "DenseReport",
    "DenseSettings",
    "DriftReport",
    "EmbeddingCodes",
    "HASHING_METHODS",
    "HashedSettings",
    "IntegerSettings",
    "LowRankSettings",
    "METHODS",
    "OutputStatistics",
    "PlannedTable",
    "PrunedSettings",
    "Settings",
    "StoredTable",
    "Table",
    "TableReport",
    "TierDrift",
    "TableSettings",
    "apply_codes",
    "check_budget",
    "compress",
    "compress_table",
    "count_files",
    "dense_layers",
    "dense_statistics",
    "drift_report",
    "encode_new_rows",
    "encode_ranges",
    "find_tables",
    "fit_new_rows",
    "fold_low_rank",
    "full_bytes",
    "fuse",
    "grow",
    "hashed_layers",
    "layer_bytes",
    "low_rank_dense",
    "make_plan",
    "matched_commitment",
    "model_bytes",
    "plan",
    "read_table",
    "table_losses",
    "with_answers",
]
