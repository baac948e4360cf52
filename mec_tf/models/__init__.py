"""Ranking models: a dict of features in, logits out."""

from mec_tf.models.dcn_v2 import DCNv2
from mec_tf.models.deep_fm import DeepFM
from mec_tf.models.dlrm import DLRM
from mec_tf.models.ranking_model import RankingModel

# By the name that commands and benchmarks take.
BACKBONES: dict[str, type[RankingModel]] = {
    "deepfm": DeepFM,
    "dcnv2": DCNv2,
    "dlrm": DLRM,
}

__all__ = ["BACKBONES", "DCNv2", "DLRM", "DeepFM", "RankingModel"]
