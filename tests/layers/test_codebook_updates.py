import numpy as np
import tensorflow as tf

from mec_tf.layers.codebook_updates import over_replicas, reseed


def test_one_replica_keeps_its_own():
    sums, seeds = tf.ones([1, 2, 3]), tf.ones([1, 2, 2])
    assert over_replicas(sums, seeds) == (sums, seeds)


def test_reseed_moves_only_the_dead():
    moving = tf.constant([[[8.0, 4.0], [6.0, 3.0], [9.0, 0.001]]])
    moved = reseed(moving, tf.constant([[[1.0], [2.0], [3.0]]])).numpy()
    share = 7.001 / 3
    np.testing.assert_array_equal(moved[0, :2], moving[0, :2])
    np.testing.assert_allclose(moved[0, 2], [3.0 * share, share], rtol=1e-6)
