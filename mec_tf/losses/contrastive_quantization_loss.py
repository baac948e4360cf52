"""Contrastive loss with semi-synthetic hard negatives."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from mec_tf.quantizers import product


@tf.keras.utils.register_keras_serializable("mec_tf")
class ContrastiveQuantizationLoss(tf.keras.losses.Loss):
    """InfoNCE between a row, its quantized form, and near misses of it.

    A negative is the quantized form with the code of one random sub-space
    replaced by another random code: hard, because all else agrees.

    `call(y_true, y_pred)` takes `y_pred`, the rows `s` `[n, D]`, and
    `y_true` `[n, 1 + num_negatives, D]`: the quantized form, then the
    negatives. It gives one loss a row `[n]`:
    `-log(e^{cos(s,z)/τ} / (e^{cos(s,z)/τ} + Σ e^{cos(s,z⁻)/τ}))`.
    Gradients reach both arguments. `of_codes` makes the candidates.

    Args:
        num_negatives: int, negatives a row. Default 1.
        temperature: float, `τ`. Default 1.
        name: of the loss.
        **kwargs: of `tf.keras.losses.Loss`.

    Raises:
        ValueError: if either is not positive.

    Reference:
        "MEC" (arXiv 2502.15355), contrastive learning with semi-synthetic
        negatives.
    """

    def __init__(
        self,
        num_negatives: int = 1,
        temperature: float = 1.0,
        name: str = "contrastive_quantization",
        **kwargs: Any,
    ):
        for key, value in (
            ("num_negatives", num_negatives),
            ("temperature", temperature),
        ):
            if not value > 0:
                raise ValueError(
                    f"`{key}` must be positive. Received: {key}={value}"
                )
        kwargs.setdefault("reduction", "sum_over_batch_size")
        super().__init__(name=name, **kwargs)
        self.num_negatives = num_negatives
        self.temperature = temperature

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        candidates = tf.math.l2_normalize(y_true, axis=-1, epsilon=1e-12)
        anchors = tf.math.l2_normalize(y_pred, axis=-1, epsilon=1e-12)
        cosines = tf.einsum("nd,ncd->nc", anchors, candidates)
        return -tf.nn.log_softmax(cosines / self.temperature, axis=-1)[:, 0]

    def of_codes(
        self,
        codes: tf.Tensor,
        vectors: tf.Tensor,
        codebooks: tf.Tensor,
        join: Callable[[tf.Tensor], tf.Tensor] = product.decode,
        seed: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """The loss of rows under their codes.

        Args:
            codes: int32 `[n, M]`.
            vectors: float `[n, D]`, the rows.
            codebooks: float `[M, K, d]`.
            join: makes vectors `[..., D]` of entries `[..., M, d]`. Default:
                joins them, as product quantization does.
            seed: int64 `[2]` of the negatives; the same seed draws the same
                ones. Default: drawn, following `tf.random.set_seed`.

        Returns:
            `[n]`; zero for a codebook of one code, which has no negatives.
        """
        size, width = codebooks.shape[1:]
        if size == 1:
            return tf.zeros_like(vectors[:, 0])
        if seed is None:
            seed = tf.random.uniform([2], maxval=1 << 31, dtype=tf.int64)
        negatives = [
            hard_negative(codes, size, tf.random.fold_in(seed, place))
            for place in range(self.num_negatives)
        ]
        candidates = tf.stack([codes, *negatives], axis=1)
        entries = tf.gather(
            tf.reshape(codebooks, [-1, width]),
            product.flat_index(candidates, size),
        )
        return self.call(join(entries), vectors)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_negatives": self.num_negatives,
            "temperature": self.temperature,
        }


def hard_negative(
    codes: tf.Tensor, codebook_size: int, seed: tf.Tensor
) -> tf.Tensor:
    """Codes `[n, M]` with one random one of each row replaced by another."""
    rows, num_subspaces = tf.shape(codes)[0], codes.shape[1]
    draws = tf.random.stateless_uniform([2, rows], seed, alg="philox")
    place = tf.cast(draws[0] * num_subspaces, tf.int32)
    shift = 1 + tf.cast(draws[1] * (codebook_size - 1), tf.int32)
    moved = tf.one_hot(place, num_subspaces, dtype=tf.int32) * shift[:, None]
    return tf.math.floormod(codes + moved, codebook_size)
