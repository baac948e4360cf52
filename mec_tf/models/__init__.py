"""Ranking models: a dict of features in, logits out."""

from mec_tf.models.dcn_v2 import DCNv2
from mec_tf.models.deep_fm import DeepFM
from mec_tf.models.din import DIN
from mec_tf.models.dlrm import DLRM
from mec_tf.models.fibinet import FiBiNET
from mec_tf.models.gdcn import GDCN
from mec_tf.models.pnn import PNN
from mec_tf.models.presets import PAPER_SETTINGS
from mec_tf.models.ranking_model import RankingModel

BACKBONES: dict[str, type[RankingModel]] = {
    "deepfm": DeepFM,
    "dcnv2": DCNv2,
    "din": DIN,
    "dlrm": DLRM,
    "fibinet": FiBiNET,
    "gdcn": GDCN,
    "pnn": PNN,
}
"""Models by the name that commands and benchmarks take."""

__all__ = [
    "BACKBONES",
    "DCNv2",
    "DIN",
    "DLRM",
    "DeepFM",
    "FiBiNET",
    "GDCN",
    "PAPER_SETTINGS",
    "PNN",
    "RankingModel",
]
