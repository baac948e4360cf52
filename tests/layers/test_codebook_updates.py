import numpy as np
import tensorflow as tf

from mec_tf.layers import ProductQuantizedEmbedding
from mec_tf.layers.codebook_updates import draw_seeds, over_replicas, reseed


def test_one_replica_keeps_its_own():
    sums, seeds = tf.ones([1, 2, 3]), tf.ones([1, 2, 2])
    assert over_replicas(sums, seeds) == (sums, seeds)


def test_reseed_moves_only_the_dead():
    moving = tf.constant([[[8.0, 4.0], [6.0, 3.0], [9.0, 0.001]]])
    moved = reseed(moving, tf.constant([[[1.0], [2.0], [3.0]]])).numpy()
    share = 7.001 / 3
    np.testing.assert_array_equal(moved[0, :2], moving[0, :2])
    np.testing.assert_allclose(moved[0, 2], [3.0 * share, share], rtol=1e-6)


def test_draws_depend_on_seed_and_counter_alone():
    points = tf.reshape(tf.range(200.0), [100, 1, 2])
    drawn = [
        draw_seeds(points, tf.ones([100]), 16, tf.constant(seed)).numpy()
        for seed in ([1, 0], [1, 0], [1, 1], [2, 0])
    ]
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert (drawn[0] != drawn[2]).any() and (drawn[0] != drawn[3]).any()


def test_a_restored_layer_goes_on_drawing():
    """What a process drew before leaves no trace but in the weights."""
    ids = np.arange(40)

    def layer_of():
        layer = ProductQuantizedEmbedding(
            40, 4, 2, 16, ema_decay=0.1, contrastive_weight=1.0, seed=3
        )
        layer.build()
        return layer

    first = layer_of()
    for _ in range(2):
        first(ids, training=True)
    second = layer_of()
    second.set_weights(first.get_weights())
    tf.random.uniform([3])  # moves the state of the process
    for _ in range(2):
        first(ids, training=True)
        losses = [float(loss) for loss in first.losses]
        second(ids, training=True)
        assert losses == [float(loss) for loss in second.losses]
    for one, other in zip(
        first.get_weights(), second.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(one, other)
    assert first.get_weights()[-1] == 4
    assert layer_of().get_config()["seed"] == 3
