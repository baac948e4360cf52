"""A table whose ids share rows by a hash."""

from typing import Any

import tensorflow as tf

from mec_tf.layers.table_layer import TableLayer
from mec_tf.layers.variables import add_raw_weight, raw

# Products of two numbers below this prime fit into int64.
PRIME = 2**31 - 1
_GOLDEN = 0x9E3779B97F4A7C15


@tf.keras.utils.register_keras_serializable("mec_tf")
class HashedEmbedding(TableLayer):
    """A drop-in `Embedding` that keeps fewer rows than there are ids.

    The baseline that a compressed table has to beat at equal bytes: ids are
    hashed to `num_rows` trainable rows, and ids that meet in a row share it.
    With several hashes a vector is the sum of that many rows of the table,
    so that few ids share all of theirs. The hash is fixed: the same id has
    the same rows in every process, on every device, in eager, graph and XLA.

    Args:
        input_dim: int, number of ids.
        output_dim: int, width of a vector.
        num_rows: int, rows of the table.
        num_hashes: int, rows summed to a vector. Default 1.
        embeddings_initializer: Keras initializer of the `[num_rows,
            output_dim]` table. Default "uniform".
        **kwargs: `additive_dim`, `private_rows`, `mask_zero`, `oov` as in
            `TableLayer`, and those of `tf.keras.layers.Layer`.

    Input shape: integer ids of any shape; ragged ids too.
    Output shape: the same with `output_dim` added, in `compute_dtype`.

    Raises:
        ValueError: if an argument is out of its range.

    Example:
        >>> layer = HashedEmbedding(1_000_000, 8, num_rows=1000)
        >>> layer(tf.constant([[1, 2, 999_999]])).shape
        TensorShape([1, 3, 8])

    Reference:
        "Feature Hashing for Large Scale Multitask Learning" (arXiv
        0902.2206); several hashes as in "Getting deep recommenders fit"
        (arXiv 1706.03993).
    """

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        num_rows: int,
        num_hashes: int = 1,
        *,
        embeddings_initializer: Any = "uniform",
        **kwargs: Any,
    ):
        super().__init__(input_dim, output_dim, **kwargs)
        if int(num_rows) != num_rows or not 1 <= num_rows <= PRIME:
            raise ValueError(
                f"`num_rows` must be an integer between 1 and {PRIME}. "
                f"Received: num_rows={num_rows!r}"
            )
        if int(num_hashes) != num_hashes or num_hashes < 1:
            raise ValueError(
                "`num_hashes` must be a positive integer. "
                f"Received: num_hashes={num_hashes!r}"
            )
        self.num_rows = int(num_rows)
        self.num_hashes = int(num_hashes)
        self.embeddings_initializer = tf.keras.initializers.get(
            embeddings_initializer
        )

    def build(self, input_shape: Any = None) -> None:
        self.embeddings = add_raw_weight(
            self,
            "embeddings",
            (self.num_rows, self.output_dim),
            "float32",
            self.embeddings_initializer,
            trainable=True,
        )
        self.built = True

    def lookup(
        self, rows: tf.Tensor, training: bool, counted: tf.Tensor | None = None
    ) -> tf.Tensor:
        table = raw(self.embeddings)
        if self.num_hashes == 1:
            return tf.gather(table, hashed(rows, self.num_rows))
        places = [
            hashed(rows, self.num_rows, i) for i in range(self.num_hashes)
        ]
        return tf.reduce_sum(tf.gather(table, tf.stack(places, -1)), axis=-2)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        config.update(
            num_rows=self.num_rows,
            num_hashes=self.num_hashes,
            embeddings_initializer=tf.keras.initializers.serialize(
                self.embeddings_initializer
            ),
        )
        return config


def hashed(ids: tf.Tensor, num_rows: int, which: int = 0) -> tf.Tensor:
    """Hashes ids to rows by two multiplications modulo a prime.

    A single one would lay neighbouring ids out on a lattice, on which two
    hashes agree far too often.

    Args:
        ids: integers of any shape, at least 0.
        num_rows: rows to hash to.
        which: number of the hash; each has factors of its own.

    Returns:
        int64 rows of the same shape.
    """
    first, offset, second = (
        1 + _GOLDEN * (3 * which + i) % (PRIME - 1) for i in (1, 2, 3)
    )
    keys = tf.math.floormod(tf.cast(ids, tf.int64), PRIME)
    keys = tf.math.floormod(keys * first + offset, PRIME)
    keys = tf.bitwise.bitwise_xor(keys, keys // 2**15)
    keys = tf.math.floormod(keys * second, PRIME)
    return tf.math.floormod(keys, num_rows)
