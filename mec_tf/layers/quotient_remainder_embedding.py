"""A table composed of two small ones."""

from typing import Any

import tensorflow as tf

from mec_tf.layers.table_layer import TableLayer
from mec_tf.layers.variables import add_raw_weight, raw

COMBINATIONS = ("multiply", "add")


@tf.keras.utils.register_keras_serializable("mec_tf")
class QuotientRemainderEmbedding(TableLayer):
    """A drop-in `Embedding` whose vectors combine rows of two tables.

    Id `i` has row `i mod m` of a remainder table of `m` rows and row `i // m`
    of a quotient table of `ceil(input_dim / m)` rows; no two ids have both
    in common. Two tables of about `sqrt(input_dim)` rows are the smallest.

    Weights: `embeddings`, the remainders, and `quotient_embeddings`.

    Args:
        input_dim: int, number of ids.
        output_dim: int, width of a vector.
        num_remainders: int, `m`, at most `input_dim`.
        combine: "multiply" (element by element, default) or "add".
        embeddings_initializer: Keras initializer of the remainders. Default
            "uniform".
        quotient_initializer: Keras initializer of the quotients. Default:
            "ones" to multiply and "zeros" to add, so that every vector
            starts as its remainder's.
        **kwargs: `additive_dim`, `private_rows`, `mask_zero`, `oov` as in
            `TableLayer`, and those of `tf.keras.layers.Layer`.

    Input shape: integer ids of any shape; ragged ids too.
    Output shape: the same with `output_dim` added, in `compute_dtype`.

    Raises:
        ValueError: if an argument is out of its range.

    Example:
        >>> layer = QuotientRemainderEmbedding(10_000, 8, num_remainders=100)
        >>> layer(tf.constant([[1, 2, 9999]])).shape
        TensorShape([1, 3, 8])

    Reference:
        "Compositional Embeddings Using Complementary Partitions" (arXiv
        1909.02107).
    """

    table_variables = ("embeddings", "quotient_embeddings")

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        num_remainders: int,
        *,
        combine: str = "multiply",
        embeddings_initializer: Any = "uniform",
        quotient_initializer: Any = None,
        **kwargs: Any,
    ):
        super().__init__(input_dim, output_dim, **kwargs)
        whole = int(num_remainders) == num_remainders
        if not whole or not 1 <= num_remainders <= input_dim:
            raise ValueError(
                "`num_remainders` must be an integer between 1 and "
                f"`input_dim`. Received: num_remainders={num_remainders!r}, "
                f"input_dim={input_dim}"
            )
        if combine not in COMBINATIONS:
            raise ValueError(
                f"`combine` must be one of {COMBINATIONS}. "
                f"Received: combine={combine!r}"
            )
        if quotient_initializer is None:
            quotient_initializer = "ones" if combine == "multiply" else "zeros"
        self.num_remainders = int(num_remainders)
        self.combine = combine
        self.embeddings_initializer = tf.keras.initializers.get(
            embeddings_initializer
        )
        self.quotient_initializer = tf.keras.initializers.get(
            quotient_initializer
        )

    @property
    def num_quotients(self) -> int:
        """Rows of the quotient table."""
        return -(-self.stored_rows // self.num_remainders)

    def build(self, input_shape: Any = None) -> None:
        self.embeddings = add_raw_weight(
            self,
            "embeddings",
            (self.num_remainders, self.output_dim),
            "float32",
            self.embeddings_initializer,
            trainable=True,
        )
        self.quotient_embeddings = add_raw_weight(
            self,
            "quotient_embeddings",
            (self.num_quotients, self.output_dim),
            "float32",
            self.quotient_initializer,
            trainable=True,
        )
        self.built = True

    def lookup(
        self, rows: tf.Tensor, training: bool, counted: tf.Tensor | None = None
    ) -> tf.Tensor:
        # The GPU divides int64, not int32.
        rows = tf.cast(rows, tf.int64)
        remainders = tf.math.floormod(rows, self.num_remainders)
        quotients = tf.math.floordiv(rows, self.num_remainders)
        first = tf.gather(raw(self.embeddings), remainders)
        second = tf.gather(raw(self.quotient_embeddings), quotients)
        return first * second if self.combine == "multiply" else first + second

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        config.update(
            num_remainders=self.num_remainders,
            combine=self.combine,
            embeddings_initializer=tf.keras.initializers.serialize(
                self.embeddings_initializer
            ),
            quotient_initializer=tf.keras.initializers.serialize(
                self.quotient_initializer
            ),
        )
        return config
