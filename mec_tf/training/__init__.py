"""Training, tuning and scoring of ranking models."""

from mec_tf.training.alpt import use_alpt
from mec_tf.training.codebook_health import CodebookHealth
from mec_tf.training.evaluation import Scores, evaluate, log_loss, rank_auc
from mec_tf.training.full_precision import FitSettings, fit, tune
from mec_tf.training.stop_on_divergence import StopOnDivergence
from mec_tf.training.training_diverged import TrainingDiverged

__all__ = [
    "CodebookHealth",
    "FitSettings",
    "Scores",
    "StopOnDivergence",
    "TrainingDiverged",
    "evaluate",
    "fit",
    "log_loss",
    "rank_auc",
    "tune",
    "use_alpt",
]
