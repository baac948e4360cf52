"""What replicas know of each other's rows."""

import numpy as np
import tensorflow as tf

from mec_tf.layers.replica_batch import listed_once, replica_batch
from tests.harness import mirrored_strategy

ROWS = [np.array([5, 2, 9]), np.array([9, 7])]
LOOKUPS = [np.float32([1, 4, 2]), np.float32([3, 0])]


def test_one_replica_keeps_its_own():
    batch = replica_batch(tf.constant(ROWS[0]), tf.constant(LOOKUPS[0]), 3)
    np.testing.assert_array_equal(batch.rows, ROWS[0])
    np.testing.assert_array_equal(batch.lookups, LOOKUPS[0])
    np.testing.assert_array_equal(batch.own_lookups, LOOKUPS[0])
    assert int(batch.seed) == 3
    vectors = tf.ones([3, 2])
    assert batch.vectors(None, vectors) is vectors
    assert batch.of_own(vectors) is vectors


def test_two_replicas_see_one_batch():
    strategy = mirrored_strategy()
    table = tf.reshape(tf.range(20.0), [10, 2])

    def per_replica(values):
        return strategy.experimental_distribute_values_from_function(
            lambda context: tf.constant(
                values[context.replica_id_in_sync_group]
            )
        )

    def step(rows, lookups, own):
        # As in processes that were given different seeds.
        seed = 3 + tf.distribute.get_replica_context().replica_id_in_sync_group
        batch = replica_batch(rows, lookups, seed)
        with tf.GradientTape() as tape:
            tape.watch(own)
            vectors = batch.vectors(table, own)
            loss = tf.reduce_sum(vectors * batch.lookups[:, None])
        gradient = tape.gradient(loss, own)
        return batch, vectors, batch.of_own(vectors), gradient

    vectors = [tf.gather(table, rows).numpy() for rows in ROWS]
    results = tf.function(strategy.run)(
        step,
        args=(
            per_replica(ROWS),
            per_replica(LOOKUPS),
            per_replica(vectors),
        ),
    )
    for place in range(2):
        batch, whole, own, gradient = tf.nest.map_structure(
            lambda value, place=place: strategy.experimental_local_results(
                value
            )[place],
            results,
        )
        np.testing.assert_array_equal(batch.rows, [5, 2, 9, 7])
        np.testing.assert_array_equal(batch.lookups, [1, 4, 5, 0])
        mine = [[1, 4, 2, 0], [0, 0, 3, 0]][place]
        np.testing.assert_array_equal(batch.own_lookups, mine)
        assert int(batch.seed) == 4
        np.testing.assert_array_equal(whole, tf.gather(table, batch.rows))
        np.testing.assert_array_equal(own, vectors[place])
        # Row 9 is on both: each takes half, so that the mean over replicas
        # of twice the whole is the whole.
        scale = [[2, 2, 1], [1, 2]][place]
        lookups = np.take([1, 4, 5, 0], [[0, 1, 2], [2, 3]][place])
        np.testing.assert_allclose(gradient[:, 0], scale * lookups)


def test_a_loss_is_listed_once():
    loss = tf.constant(5.0)
    assert listed_once(loss) is loss
