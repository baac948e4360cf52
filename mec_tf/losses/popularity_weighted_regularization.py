"""The regularizer that spreads popularity over the codes."""

import math
from typing import Any

import tensorflow as tf

from mec_tf.quantizers import product


@tf.keras.utils.register_keras_serializable("mec_tf")
class PopularityWeightedRegularization(tf.keras.losses.Loss):
    """Zero when every code carries the same popularity, else positive.

    With row weights `r_j = max(1, floor(log2 n_j))` of rows that occur `n_j`
    times in the training data, the soft usage of code `k` in sub-space `m`
    is `p_mk = Σ_j r_j softmax_k(-||s_jm - c_mk||² / T) / Σ_j r_j`, and the
    loss is `mean_m (ln K - H(p_m))`: the Kullback-Leibler divergence of the
    usage from equal usage, in nats. It has gradients with respect to rows
    and codebooks.

    `call(y_true, y_pred)` takes weights `r`, `[n]`, and squared distances,
    `[M, n, K]`, and gives one loss a sub-space, `[M]`. `of_batch` makes both
    from rows.

    Args:
        temperature: float or None, `T`. Default None: the mean squared
            distance to the nearest code, held constant for the gradient.
        name: of the loss.
        **kwargs: of `tf.keras.losses.Loss`.

    Raises:
        ValueError: if `temperature` is not positive.

    Reference:
        "MEC" (arXiv 2502.15355), popularity-weighted regularization. The
        paper's code takes hard assignments, which have no gradient.
    """

    def __init__(
        self,
        temperature: float | None = None,
        name: str = "popularity_weighted_regularization",
        **kwargs: Any,
    ):
        if temperature is not None and not temperature > 0:
            raise ValueError(
                "`temperature` must be positive or None. "
                f"Received: temperature={temperature}"
            )
        kwargs.setdefault("reduction", "sum_over_batch_size")
        super().__init__(name=name, **kwargs)
        self.temperature = temperature

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        weights = tf.cast(tf.reshape(y_true, [1, -1, 1]), y_pred.dtype)
        temperature = self.temperature
        if temperature is None:
            counted = tf.cast(weights > 0, y_pred.dtype)[..., 0]
            nearest = tf.math.divide_no_nan(
                tf.reduce_sum(counted * tf.reduce_min(y_pred, axis=-1)),
                tf.reduce_sum(counted) * y_pred.shape[0],
            )
            temperature = tf.stop_gradient(tf.maximum(nearest, 1e-12))
        soft = tf.nn.softmax(-y_pred / temperature, axis=-1)
        mass = tf.reduce_sum(weights * soft, axis=1)
        usage = tf.math.divide_no_nan(mass, tf.reduce_sum(weights))
        entropy = -tf.reduce_sum(tf.math.xlogy(usage, usage), axis=-1)
        return math.log(y_pred.shape[-1]) - entropy

    def of_batch(
        self,
        counts: tf.Tensor,
        parts: tf.Tensor,
        codebooks: tf.Tensor,
        lookups: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """The loss of the table, estimated from rows drawn by popularity.

        A batch holds a row as often as it is popular, so each occurrence
        weighs `r_j / n_j`: the sum over a batch is then an unbiased estimate
        of the sum over the table.

        Args:
            counts: float `[n]`, training counts `n_j` of the rows.
            parts: float `[M, n, d]`, what each code of a row stands for:
                its sub-vectors, or what each stage has left to quantize.
            codebooks: float `[M, K, d]`.
            lookups: float `[n]`, times that the batch holds a row; 0 for one
                that shall not count. Default: once each.

        Returns:
            Scalar.
        """
        counts = tf.maximum(counts, 1.0)
        weights = popularity_weight(counts) / counts
        if lookups is not None:
            weights *= lookups
        norms = tf.reduce_sum(tf.square(parts), axis=-1, keepdims=True)
        gaps = tf.maximum(product.distances(parts, codebooks) + norms, 0.0)
        return self(weights, gaps)

    def __call__(
        self, y_true: Any, y_pred: Any, sample_weight: Any = None
    ) -> tf.Tensor:
        """Mean over sub-spaces; `sample_weight` multiplies the weights."""
        if sample_weight is not None:
            y_true = y_true * sample_weight
        return tf.reduce_mean(self.call(y_true, y_pred))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "temperature": self.temperature}


def popularity_weight(counts: tf.Tensor) -> tf.Tensor:
    """`max(1, floor(log2 n))` of float counts; 1 where a count is 0."""
    logs = tf.math.log(tf.maximum(counts, 1.0)) / math.log(2.0)
    # log2 of an exact power of two may come out just below the integer.
    return tf.maximum(1.0, tf.floor(logs + 1e-5))
