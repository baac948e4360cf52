"""Published settings of the models, by name."""

from typing import Any

PAPER_SETTINGS: dict[str, dict[str, Any]] = {
    "deepfm": {"embedding_dim": 40, "hidden_units": (300, 300, 300)},
    "pnn": {"embedding_dim": 40, "hidden_units": (300, 300, 300)},
    "dcnv2": {
        "embedding_dim": 40,
        "hidden_units": (500, 500, 500),
        "num_cross_layers": 3,
    },
    "gdcn": {
        "embedding_dim": 40,
        "hidden_units": (1024, 512, 256),
        "num_cross_layers": 3,
    },
    "fibinet": {"embedding_dim": 40, "hidden_units": (500, 500, 500)},
    "dlrm": {
        "embedding_dim": 16,
        "hidden_units": (512, 256),
        "bottom_units": (512, 256, 64),
    },
    "din": {
        "embedding_dim": 12,
        "hidden_units": (200, 80),
        "attention_units": (36,),
    },
}
"""Settings of published experiments, by the names of `BACKBONES`.

Those of "MEC" (arXiv 2502.15355), which trains by Adam, 10,000 examples a step;
FiBiNET's bilinear type and reduction ratio stay at the constructor's defaults.
MEC has neither of the last two: DLRM is as its authors ran it on Criteo's
display ads (arXiv 1906.00091), DIN as its authors had it on Alibaba's, with the
attention of their figure (arXiv 1706.06978).

Example:
    >>> BACKBONES[name].from_log(log, **PAPER_SETTINGS[name])
"""
