"""Keras layers: embedding tables, their compressed forms, interactions."""

from mec_tf.layers.code_lookup_embedding import CodeLookupEmbedding
from mec_tf.layers.cross_network import CrossNetwork
from mec_tf.layers.dot_interaction import DotInteraction
from mec_tf.layers.factorization_machine import FactorizationMachine
from mec_tf.layers.field_embeddings import FieldEmbeddings
from mec_tf.layers.mlp import MLP
from mec_tf.layers.numeric_features import NumericFeatures
from mec_tf.layers.product_quantized_embedding import (
    ProductQuantizedEmbedding,
)
from mec_tf.layers.table_embedding import TableEmbedding
from mec_tf.layers.table_layer import TableLayer

__all__ = [
    "CodeLookupEmbedding",
    "CrossNetwork",
    "DotInteraction",
    "FactorizationMachine",
    "FieldEmbeddings",
    "MLP",
    "NumericFeatures",
    "ProductQuantizedEmbedding",
    "TableEmbedding",
    "TableLayer",
]
