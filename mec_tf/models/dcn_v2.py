"""DCN V2."""

import tensorflow as tf

from mec_tf.layers.cross_network import CrossNetwork
from mec_tf.models.parallel_cross_model import ParallelCrossModel


@tf.keras.utils.register_keras_serializable("mec_tf")
class DCNv2(ParallelCrossModel):
    """A cross network and a tower side by side on the same inputs.

    Args:
        categorical: `{feature: rows of its vocabulary}`.
        numeric: `{feature: (mean, std)}` of the signed logarithm.
        num_cross_layers: int, cross layers. Default 3.
        **kwargs: as in `RankingModel`.

    Input shape: a dict of `{feature: [batch]}`.
    Output shape: float32 logits `[batch, 1]`.

    Example:
        >>> model = DCNv2({"user": 1000, "item": 500}, embedding_dim=8)
        >>> ids = tf.constant([1, 2])
        >>> model({"user": ids, "item": ids}).shape
        TensorShape([2, 1])

    Reference:
        "DCN V2" (arXiv 2008.13535), the parallel structure.
    """

    cross_network = CrossNetwork
