"""The trainable residual-quantized table."""

from typing import Any

import tensorflow as tf

from mec_tf.layers.quantized_embedding import QuantizedEmbedding
from mec_tf.quantizers import ResidualQuantizer


@tf.keras.utils.register_keras_serializable("mec_tf")
class ResidualQuantizedEmbedding(QuantizedEmbedding):
    """A drop-in trainable `Embedding` whose rows learn sums of codes.

    A row is the sum of `num_stages` codebook entries as wide as itself; each
    stage quantizes what the stages before left over. Any `output_dim` will
    do. Codebooks are `num_stages` times larger than those of product
    quantization with as many codes. `freeze()` gives a `CodeLookupEmbedding`
    that sums.

    Args:
        input_dim: int, rows of the table.
        output_dim: int, width of a vector.
        num_stages: int, `M`. Default 2.
        codebook_size: int, `K`, up to 65,536. Default 256.
        **kwargs: as in `QuantizedEmbedding`: the weights of the losses, how
            codebooks move, initializer, first-order columns, `mask_zero`, …

    Input shape: integer ids of any shape; ragged ids too.
    Output shape: the same with `output_dim` added, in `compute_dtype`.

    Raises:
        ValueError: if an argument is out of its range.

    Example:
        >>> layer = ResidualQuantizedEmbedding(1000, 15, num_stages=2)
        >>> layer(tf.constant([[1, 2, 3]])).shape
        TensorShape([1, 3, 15])
        >>> frozen = layer.freeze()

    Reference:
        "MEC" (arXiv 2502.15355) with residual instead of product codes, as
        in "Autoregressive image generation using residual quantization"
        (arXiv 2203.01941).
    """

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        num_stages: int = 2,
        codebook_size: int = 256,
        **kwargs: Any,
    ):
        self.num_codes = self.num_stages = num_stages
        self.codebook_size = codebook_size
        super().__init__(input_dim, output_dim, **kwargs)

    def make_quantizer(self) -> ResidualQuantizer:
        return ResidualQuantizer(self.num_stages, self.codebook_size)

    @property
    def frozen_additive_dim(self) -> int:
        return self.output_dim

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        config["num_stages"] = self.num_stages
        return config
