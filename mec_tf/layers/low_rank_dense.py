"""A dense layer as the product of two thin ones."""

from typing import Any

import numpy as np
import tensorflow as tf

from mec_tf.layers.nesting import build_inner
from mec_tf.layers.variables import constant_initializer, raw
from mec_tf.quantizers import OutputStatistics


@tf.keras.utils.register_keras_serializable("mec_tf")
class LowRankDense(tf.keras.layers.Layer):
    """Two dense factors in the place of one dense layer.

    The first factor has `rank` outputs, the second `units`. Made by
    `from_dense`, which keeps of a trained layer's outputs the subspace in
    which they vary most on data, or trained from the start.

    Weights: `first_kernel` `[inputs, rank]`, `second_kernel` `[rank, units]`,
    and with `use_bias` `first_bias` `[rank]`, `second_bias` `[units]`.

    Args:
        units: int, width of the output.
        rank: int, width between the factors.
        activation: Keras activation of the output. Default: none.
        inner_activation: Keras activation between the factors, such as
            "relu". Default: none; then the layer is linear but for
            `activation`.
        use_bias: bool, whether the factors have biases. Default True.
        **kwargs: of `tf.keras.layers.Layer`.

    Input shape: floats `[batch, ..., inputs]`.
    Output shape: `[batch, ..., units]`, in `compute_dtype`.

    Raises:
        ValueError: if `units` or `rank` is not a positive integer.

    Example:
        >>> layer = LowRankDense(100, rank=8, activation="relu")
        >>> layer(tf.zeros([2, 40])).shape
        TensorShape([2, 100])

    Reference:
        "Unified low-rank compression framework for click-through rate
        prediction" (arXiv 2405.18146).
    """

    def __init__(
        self,
        units: int,
        rank: int,
        activation: Any = None,
        inner_activation: Any = None,
        use_bias: bool = True,
        **kwargs: Any,
    ):
        for name, value in (("units", units), ("rank", rank)):
            if int(value) != value or value < 1:
                raise ValueError(
                    f"`{name}` must be a positive integer. "
                    f"Received: {name}={value!r}"
                )
        super().__init__(**kwargs)
        self.units = int(units)
        self.rank = int(rank)
        self.activation = tf.keras.activations.get(activation)
        self.inner_activation = tf.keras.activations.get(inner_activation)
        self.use_bias = use_bias
        self.supports_masking = True
        self._values: dict[str, np.ndarray] = {}

    def build(self, input_shape: Any) -> None:
        inputs = input_shape[-1]
        self.first_kernel = self._add(
            "first_kernel", (inputs, self.rank), "glorot_uniform"
        )
        self.second_kernel = self._add(
            "second_kernel", (self.rank, self.units), "glorot_uniform"
        )
        if self.use_bias:
            self.first_bias = self._add("first_bias", (self.rank,), "zeros")
            self.second_bias = self._add("second_bias", (self.units,), "zeros")
        self._values = {}
        self.built = True

    def _add(self, name: str, shape: tuple[int, ...], start: str) -> Any:
        values = self._values.get(name)
        initializer = start if values is None else constant_initializer(values)
        return self.add_weight(name=name, shape=shape, initializer=initializer)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        inner = tf.matmul(inputs, self.first_kernel)
        if self.use_bias:
            inner += self.first_bias
        outputs = tf.matmul(self.inner_activation(inner), self.second_kernel)
        if self.use_bias:
            outputs += self.second_bias
        return self.activation(outputs)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return type(input_shape)([*input_shape[:-1], self.units])

    @classmethod
    def from_dense(
        cls,
        dense: tf.keras.layers.Dense,
        statistics: OutputStatistics,
        rank: int,
        *,
        inner_activation: Any = None,
        **config: Any,
    ) -> "LowRankDense":
        """Decomposes a trained layer by the outputs it gave on data.

        Without `inner_activation` outputs are projected, before the
        activation, on the `rank` directions in which they vary most, about
        their mean; with `rank = units` they are the dense layer's. With it
        the factors are a start for further training. Regularizers and
        constraints of the dense layer's kernel are not carried over.

        Args:
            dense: a built `tf.keras.layers.Dense`.
            statistics: of its outputs before the activation.
            rank: int between 1 and `dense.units`.
            inner_activation: as of the constructor.
            **config: of `tf.keras.layers.Layer`. Default: the dense layer's
                `name` and `dtype`.

        Raises:
            ValueError: if `dense` is not built, `statistics` are of another
                width, or `rank` is out of its range.
        """
        if not dense.built:
            raise ValueError(
                "`dense` must be built. Received a layer that was never called"
            )
        if statistics.dim != dense.units:
            raise ValueError(
                f"`statistics` must be of {dense.units} outputs. "
                f"Received: {statistics.dim}"
            )
        mean, basis, _ = statistics.principal(rank)
        kernel = raw(dense.kernel).numpy().astype(np.float64)
        bias = np.zeros(dense.units)
        if dense.use_bias:
            bias = raw(dense.bias).numpy().astype(np.float64)
        policy = getattr(dense, "dtype_policy", None) or dense.dtype
        layer = cls(
            dense.units,
            rank,
            dense.activation,
            inner_activation,
            **{"name": dense.name, "dtype": policy, **config},
        )
        layer._values = {
            "first_kernel": kernel @ basis,
            "first_bias": bias @ basis,
            "second_kernel": basis.T,
            "second_bias": mean - basis @ (basis.T @ mean),
        }
        build_inner(layer, (None, len(kernel)))
        return layer

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        serialize = tf.keras.activations.serialize
        config.update(
            units=self.units,
            rank=self.rank,
            activation=serialize(self.activation),
            inner_activation=serialize(self.inner_activation),
            use_bias=self.use_bias,
        )
        return config
