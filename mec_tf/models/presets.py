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
}
"""The settings of the experiments of "MEC" (arXiv 2502.15355).

By the names of `BACKBONES`; FiBiNET's bilinear type and reduction ratio stay at
the constructor's defaults. It trains by Adam, 10,000 examples a step.

Example:
    >>> BACKBONES[name].from_log(log, **PAPER_SETTINGS[name])
"""
