"""Ranking models: a dict of features in, logits out."""

from mec_tf.models.dcn_v2 import DCNv2
from mec_tf.models.deep_fm import DeepFM
from mec_tf.models.dlrm import DLRM
from mec_tf.models.ranking_model import RankingModel

__all__ = ["DCNv2", "DLRM", "DeepFM", "RankingModel"]
