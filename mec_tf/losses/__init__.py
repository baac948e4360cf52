"""Losses of quantized embeddings, as Keras `Loss` objects."""

from mec_tf.losses.commitment_loss import CommitmentLoss
from mec_tf.losses.contrastive_quantization_loss import (
    ContrastiveQuantizationLoss,
)
from mec_tf.losses.popularity_weighted_regularization import (
    PopularityWeightedRegularization,
)

__all__ = [
    "CommitmentLoss",
    "ContrastiveQuantizationLoss",
    "PopularityWeightedRegularization",
]
