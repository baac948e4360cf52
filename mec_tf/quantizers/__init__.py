"""Quantizers: encode, decode, k-means, packing. No Keras, no training."""

from mec_tf.quantizers.additive import (
    encode_additive,
    fit_additive,
    nearest_additive,
)
from mec_tf.quantizers.kmeans import weighted_kmeans
from mec_tf.quantizers.output_statistics import OutputStatistics
from mec_tf.quantizers.packing import code_dtype, pack
from mec_tf.quantizers.product_quantizer import ProductQuantizer
from mec_tf.quantizers.quantizer import Quantizer
from mec_tf.quantizers.residual_quantizer import ResidualQuantizer
from mec_tf.quantizers.rotation import fit_rotated

__all__ = [
    "OutputStatistics",
    "ProductQuantizer",
    "Quantizer",
    "ResidualQuantizer",
    "code_dtype",
    "encode_additive",
    "fit_additive",
    "fit_rotated",
    "nearest_additive",
    "pack",
    "weighted_kmeans",
]
