"""A two-tower retrieval model of TensorFlow Recommenders, and its data.

Needs Keras 2 (`TF_USE_LEGACY_KERAS=1`), as TensorFlow Recommenders does.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np
import tensorflow as tf
import tensorflow_recommenders as tfrs

from mec_tf.data import Log

Features = Mapping[str, tf.Tensor]


@dataclasses.dataclass(frozen=True)
class TowerSettings:
    """What is tuned of a two-tower model.

    Args:
        dim: width of the item vectors.
        initial: largest number in an untrained row.
        hidden: units of the user tower's hidden layer.
        l2: weight of the mean squared norm of looked-up rows.
        dropout: of the user tower.
        temperature: what cosines are divided by to be scores.
        learning_rate: of Adam.
    """

    dim: int = 64
    initial: float = 0.005
    hidden: int = 128
    l2: float = 0.0
    dropout: float = 0.2
    temperature: float = 0.15
    learning_rate: float = 0.002


class RecencyPooling(tf.keras.layers.Layer):
    """Sum of a history's vectors, weighted by their place in it.

    Input shape: floats `[batch, length, dim]` and bool `[batch, length]`,
        False where padded.
    Output shape: `[batch, dim]`.
    """

    def build(self, input_shape):
        self.logits = self.add_weight("logits", (input_shape[1],))
        self.built = True

    def call(self, vectors, kept):
        logits = tf.where(kept, self.logits, -1e9)
        return tf.einsum("bl,bld->bd", tf.nn.softmax(logits), vectors)


class TwoTowers(tfrs.Model):
    """Items that a user touched -> vector; item -> vector, of one table.

    The user tower pools the vectors of the history by place, most recent
    first, and runs an MLP on the sum and the most recent vector.

    Args:
        popularity: training count of each row of the item table, `[rows]`.
        settings: as of `TowerSettings`.
    """

    def __init__(self, popularity: np.ndarray, settings: TowerSettings):
        super().__init__()
        self.settings = settings
        self.items = tf.keras.layers.Embedding(
            len(popularity),
            settings.dim,
            embeddings_initializer=tf.keras.initializers.RandomUniform(
                -settings.initial, settings.initial
            ),
        )
        self.pooling = RecencyPooling()
        self.hidden = tf.keras.layers.Dense(settings.hidden, "relu")
        self.dropout = tf.keras.layers.Dropout(settings.dropout)
        self.last = tf.keras.layers.Dense(settings.dim)
        share = np.maximum(popularity, 1) / popularity.sum()
        self.sampled = np.float32(share)
        self.task = tfrs.tasks.Retrieval(
            loss=tf.keras.losses.CategoricalCrossentropy(
                from_logits=True,
                reduction=tf.keras.losses.Reduction.SUM_OVER_BATCH_SIZE,
            ),
            temperature=settings.temperature,
            remove_accidental_hits=True,
        )

    def user_vectors(
        self, history: tf.Tensor, vectors: tf.Tensor, training: bool
    ) -> tf.Tensor:
        pooled = self.pooling(vectors, history != 0)
        both = tf.concat([pooled, vectors[:, 0]], axis=-1)
        hidden = self.hidden(self.dropout(both, training=training))
        hidden = self.last(self.dropout(hidden, training=training))
        return tf.nn.l2_normalize(hidden + pooled, axis=-1)

    def item_vectors(self, ids: tf.Tensor) -> tf.Tensor:
        """Unit vectors `[n, dim]`, to be searched."""
        return tf.nn.l2_normalize(self.items(ids), axis=-1)

    def call(self, features: Features, training: bool = False) -> tf.Tensor:
        """Unit vectors `[batch, dim]` of users, to search with."""
        history = features["history"]
        return self.user_vectors(history, self.items(history), training)

    def compute_loss(
        self, inputs: Features, training: bool = False
    ) -> tf.Tensor:
        # One lookup for both towers.
        history, item = inputs["history"], inputs["item"]
        ids = tf.concat([history, item[:, None]], axis=1)
        vectors = self.items(ids, training=training)
        loss = self.task(
            self.user_vectors(history, vectors[:, :-1], training),
            tf.nn.l2_normalize(vectors[:, -1], axis=-1),
            candidate_sampling_probability=tf.gather(self.sampled, item),
            candidate_ids=item,
            compute_metrics=False,
        )
        if training and self.settings.l2:
            kept = tf.cast(ids != 0, tf.float32)
            norms = tf.reduce_sum(tf.square(vectors), -1) * kept
            loss += self.settings.l2 * tf.reduce_mean(norms)
        return loss


def positives(log: Log, split: str) -> dict[str, np.ndarray]:
    """What users touched after a history: item and history, as arrays."""
    kept: dict[str, list[np.ndarray]] = {"item": [], "history": []}
    for features, labels in log.dataset(split, 8192):
        true = labels[:, 0].numpy() == 1
        true &= features["history"].numpy()[:, 0] != 0
        for name, parts in kept.items():
            parts.append(features[name].numpy()[true])
    return {name: np.concatenate(parts) for name, parts in kept.items()}


def recall_at(
    model: TwoTowers, data: Mapping[str, np.ndarray], k: int = 100
) -> float:
    """Share of items among the `k` best that the user has not touched.

    Where items tie, as those of equal codes do, the expected share under a
    random order counts. Row 0, of unknown items, is no candidate; an item of
    row 0 is never found.
    """
    items = model.item_vectors(tf.range(model.items.input_dim))

    @tf.function
    def found(history, item):
        scores = tf.matmul(model({"history": history}), items, transpose_b=True)
        true = tf.gather(scores, item, batch_dims=1)[:, None]
        touched = tf.gather(scores, history, batch_dims=1)
        first = scores[:, :1]

        def count(compare):
            padded = tf.reduce_sum(tf.cast(compare(first, true), tf.int32), 1)
            seen = tf.logical_and(compare(touched, true), history != 0)
            return (
                tf.math.count_nonzero(compare(scores, true), 1, dtype=tf.int32)
                - padded
                - tf.math.count_nonzero(seen, 1, dtype=tf.int32)
            )

        above = count(tf.greater)
        ties = tf.maximum(count(tf.equal), 1)
        share = tf.clip_by_value((k - above) / ties, 0, 1)
        return tf.where(item == 0, tf.zeros_like(share), share)

    batches = tf.data.Dataset.from_tensor_slices(
        (data["history"], data["item"])
    ).batch(512)
    return float(np.mean(np.concatenate([found(*b) for b in batches])))
