"""The methods of compression, one object each."""

from mec_tf.compression.methods.codes import FixedCodes, LearnedCodes
from mec_tf.compression.methods.hashing import Hashing, QuotientRemainder
from mec_tf.compression.methods.low_precision import (
    FixedSteps,
    LowPrecision,
    Rounding,
)
from mec_tf.compression.methods.low_rank import LowRank
from mec_tf.compression.methods.method import Method
from mec_tf.compression.methods.pruning import Pruning
from mec_tf.compression.settings import Settings

METHODS: dict[str, Method] = {
    "mec": LearnedCodes(),
    "kmeans": FixedCodes(),
    "alpt": LowPrecision(),
    "lpt": FixedSteps(),
    "int8": Rounding(8),
    "int4": Rounding(4),
    "low_rank": LowRank(),
    "prune": Pruning(),
    "hash": Hashing(),
    "quotient_remainder": QuotientRemainder(),
}
"""Methods by name; the first that understands some settings is theirs."""


def method_of(settings: Settings, preferred: str) -> Method:
    """The method of a table's settings.

    Args:
        settings: of the table.
        preferred: name of the method that learns it if it can.
    """
    if isinstance(settings, METHODS[preferred].settings_type):
        return METHODS[preferred]
    return next(
        method
        for method in METHODS.values()
        if isinstance(settings, method.settings_type)
    )


__all__ = ["METHODS", "Method", "method_of"]
