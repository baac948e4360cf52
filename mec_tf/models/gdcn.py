"""GDCN."""

import tensorflow as tf

from mec_tf.layers.gated_cross_network import GatedCrossNetwork
from mec_tf.models.parallel_cross_model import ParallelCrossModel


@tf.keras.utils.register_keras_serializable("mec_tf")
class GDCN(ParallelCrossModel):
    """A gated cross network and a tower side by side on the same inputs.

    Args:
        categorical: `{feature: rows of its vocabulary}`.
        numeric: `{feature: (mean, std)}` of the signed logarithm.
        num_cross_layers: int, gated cross layers. Default 3.
        **kwargs: as in `RankingModel`.

    Input shape: a dict of `{feature: [batch]}`.
    Output shape: float32 logits `[batch, 1]`.

    Example:
        >>> model = GDCN({"user": 1000, "item": 500}, embedding_dim=8)
        >>> ids = tf.constant([1, 2])
        >>> model({"user": ids, "item": ids}).shape
        TensorShape([2, 1])

    Reference:
        "Towards deeper, lighter and interpretable cross network for CTR
        prediction" (arXiv 2311.04635), the parallel structure, GDCN-P.
    """

    cross_network = GatedCrossNetwork
