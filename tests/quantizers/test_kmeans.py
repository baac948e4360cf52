import numpy as np
import pytest

from mec_tf.quantizers import kmeans, weighted_kmeans


def test_weighted_optimum_of_two_groups():
    points = np.array([[0.0], [1.0], [10.0], [11.0]])
    centroids = weighted_kmeans(points, 2, np.array([1, 3, 1, 1]))
    np.testing.assert_allclose(np.sort(centroids[:, 0]), [0.75, 10.5])


def test_without_weights_centroids_are_plain_means():
    points = np.array([[0.0, 0.0], [0.0, 2.0], [9.0, 9.0], [9.0, 9.0]])
    centroids = weighted_kmeans(points, 2)
    order = np.argsort(centroids[:, 0])
    np.testing.assert_allclose(centroids[order], [[0.0, 1.0], [9.0, 9.0]])
    assert centroids.dtype == np.float32


def test_rows_of_no_weight_do_not_move_centroids():
    points = np.array([[0.0], [100.0], [10.0], [10.5]])
    centroids = weighted_kmeans(points, 2, np.array([5, 0, 1, 1]))
    np.testing.assert_allclose(np.sort(centroids[:, 0]), [0.0, 10.25])


def test_all_zero_weights_count_as_one():
    points = np.random.default_rng(0).normal(size=(30, 2))
    np.testing.assert_array_equal(
        weighted_kmeans(points, 4, np.zeros(30)),
        weighted_kmeans(points, 4, np.ones(30)),
    )


def test_dead_centroids_are_reseeded(monkeypatch):
    def all_alike(points, weights, num_centroids, rng):
        return np.tile(points[:1], (num_centroids, 1))

    monkeypatch.setattr(kmeans, "_plus_plus", all_alike)
    points = np.repeat([[0.0], [5.0], [50.0]], 4, axis=0)
    centroids = weighted_kmeans(points, 3)
    np.testing.assert_allclose(np.sort(centroids[:, 0]), [0.0, 5.0, 50.0])


@pytest.mark.parametrize("num_centroids", [3, 8])
def test_as_many_centroids_as_points_keep_every_point(num_centroids):
    points = np.array([[1.0], [2.0], [4.0]], np.float32)
    centroids = weighted_kmeans(points, num_centroids)
    assert centroids.shape == (num_centroids, 1)
    assert set(centroids[:, 0]) == {1.0, 2.0, 4.0}


def test_equal_points_give_that_point():
    centroids = weighted_kmeans(np.full((20, 3), 2.5), 4)
    np.testing.assert_array_equal(centroids, np.full((4, 3), 2.5))


def test_seed_decides():
    points = np.random.default_rng(1).normal(size=(200, 4))
    first = weighted_kmeans(points, 8, seed=7)
    np.testing.assert_array_equal(first, weighted_kmeans(points, 8, seed=7))
    assert not np.array_equal(first, weighted_kmeans(points, 8, seed=8))


def test_sampled_points_still_find_the_groups():
    rng = np.random.default_rng(2)
    groups = np.repeat([-10.0, 0.0, 10.0], 1000)
    points = (groups + rng.normal(scale=0.1, size=3000))[:, None]
    assert len(points) > 3 * kmeans.POINTS_PER_CENTROID
    centroids = np.sort(weighted_kmeans(points, 3)[:, 0])
    np.testing.assert_allclose(centroids, [-10.0, 0.0, 10.0], atol=0.1)
