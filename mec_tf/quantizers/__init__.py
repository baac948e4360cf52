"""Quantizers: encode, decode, k-means, packing. No Keras, no training."""

from mec_tf.quantizers.additive import fit_additive
from mec_tf.quantizers.kmeans import weighted_kmeans
from mec_tf.quantizers.packing import code_dtype, pack
from mec_tf.quantizers.product_quantizer import ProductQuantizer

__all__ = [
    "ProductQuantizer",
    "code_dtype",
    "fit_additive",
    "pack",
    "weighted_kmeans",
]
