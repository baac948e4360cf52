"""The methods of compression, one object each."""

from mec_tf.compression.methods.codes import FixedCodes, LearnedCodes
from mec_tf.compression.methods.hashing import Hashing, QuotientRemainder
from mec_tf.compression.methods.method import Method
from mec_tf.compression.methods.pruning import Pruning
from mec_tf.compression.settings import Settings

# By name; the first one that understands some settings is theirs.
METHODS: dict[str, Method] = {
    "mec": LearnedCodes(),
    "kmeans": FixedCodes(),
    "prune": Pruning(),
    "hash": Hashing(),
    "quotient_remainder": QuotientRemainder(),
}


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
