"""Keras layers: embedding tables, their compressed forms, interactions."""

from mec_tf.layers.bilinear_interaction import BilinearInteraction
from mec_tf.layers.code_lookup_embedding import CodeLookupEmbedding
from mec_tf.layers.cross_network import CrossNetwork
from mec_tf.layers.dot_interaction import DotInteraction
from mec_tf.layers.factorization_machine import FactorizationMachine
from mec_tf.layers.field_embeddings import FieldEmbeddings
from mec_tf.layers.fused_code_lookup_embedding import (
    FusedCodeLookupEmbedding,
)
from mec_tf.layers.fused_field_embeddings import FusedFieldEmbeddings
from mec_tf.layers.fused_table_embedding import FusedTableEmbedding
from mec_tf.layers.gated_cross_network import GatedCrossNetwork
from mec_tf.layers.hashed_embedding import HashedEmbedding
from mec_tf.layers.integer_embedding import IntegerEmbedding
from mec_tf.layers.low_precision_embedding import LowPrecisionEmbedding
from mec_tf.layers.low_rank_dense import LowRankDense
from mec_tf.layers.low_rank_embedding import LowRankEmbedding
from mec_tf.layers.masked_pooling import MaskedPooling
from mec_tf.layers.mlp import MLP
from mec_tf.layers.numeric_features import NumericFeatures
from mec_tf.layers.pooled_embedding import PooledEmbedding
from mec_tf.layers.product_quantized_embedding import (
    ProductQuantizedEmbedding,
)
from mec_tf.layers.quantized_embedding import QuantizedEmbedding
from mec_tf.layers.quotient_remainder_embedding import (
    QuotientRemainderEmbedding,
)
from mec_tf.layers.residual_quantized_embedding import (
    ResidualQuantizedEmbedding,
)
from mec_tf.layers.squeeze_excitation import SqueezeExcitation
from mec_tf.layers.table_embedding import TableEmbedding
from mec_tf.layers.table_layer import TableLayer
from mec_tf.layers.target_attention import TargetAttention
from mec_tf.layers.tiered_embedding import TieredEmbedding

__all__ = [
    "BilinearInteraction",
    "CodeLookupEmbedding",
    "CrossNetwork",
    "DotInteraction",
    "FactorizationMachine",
    "FieldEmbeddings",
    "FusedCodeLookupEmbedding",
    "FusedFieldEmbeddings",
    "FusedTableEmbedding",
    "GatedCrossNetwork",
    "HashedEmbedding",
    "IntegerEmbedding",
    "LowPrecisionEmbedding",
    "LowRankDense",
    "LowRankEmbedding",
    "MLP",
    "MaskedPooling",
    "NumericFeatures",
    "PooledEmbedding",
    "ProductQuantizedEmbedding",
    "QuantizedEmbedding",
    "QuotientRemainderEmbedding",
    "ResidualQuantizedEmbedding",
    "SqueezeExcitation",
    "TableEmbedding",
    "TableLayer",
    "TargetAttention",
    "TieredEmbedding",
]
