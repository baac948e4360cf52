import numpy as np
import pytest
import tensorflow as tf

from mec_tf.quantizers import OutputStatistics
from mec_tf.quantizers.moments import merged, moments


def outputs(rows=500, dim=6):
    """Far from zero, so that sums of squares would lose their digits."""
    generator = np.random.default_rng(0)
    mixed = generator.normal(size=(rows, dim)) @ generator.normal(
        size=(dim, dim)
    )
    return mixed + 1000.0


def stream(values, sizes, order, weights=None):
    ends = np.cumsum(sizes)
    parts = [slice(e - s, e) for s, e in zip(sizes, ends, strict=True)]
    statistics = OutputStatistics(values.shape[-1])
    for place in order:
        part = parts[place]
        statistics.update(
            values[part], None if weights is None else weights[part]
        )
    return statistics


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 1, 0, 2), (2, 0, 3, 1)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_equal_to_numpy_in_any_batch_order(order, dtype):
    values = outputs().astype(dtype)
    statistics = stream(values, (1, 0, 99, 400), order)
    expected = np.cov(values.astype("float64").T, bias=True)
    assert statistics.count == 500
    mean = values.astype("float64").mean(axis=0)
    np.testing.assert_allclose(statistics.mean, mean, rtol=1e-10)
    np.testing.assert_allclose(statistics.covariance, expected, rtol=1e-8)


def test_weights_are_repetitions():
    values = outputs(50)
    weights = np.random.default_rng(1).integers(0, 9, 50)
    weighed = stream(values, (20, 30), (1, 0), weights)
    repeated = stream(np.repeat(values, weights, axis=0), (weights.sum(),), [0])
    assert weighed.count == repeated.count
    np.testing.assert_allclose(weighed.mean, repeated.mean, rtol=1e-10)
    np.testing.assert_allclose(
        weighed.covariance, repeated.covariance, rtol=1e-8
    )


def test_statistics_of_a_table_are_those_of_its_lookups(monkeypatch):
    monkeypatch.setattr("mec_tf.quantizers.output_statistics.CHUNK", 7)
    table = outputs(40, 3).astype("float32")
    counts = np.random.default_rng(1).integers(0, 5, 40)
    lookups = np.repeat(np.arange(40), counts)
    looked_up = OutputStatistics(3)
    looked_up.update(table[np.random.default_rng(2).permutation(lookups)])
    of_table = OutputStatistics.of_table(table, counts)
    np.testing.assert_allclose(of_table.mean, looked_up.mean, rtol=1e-10)
    np.testing.assert_allclose(
        of_table.covariance, looked_up.covariance, rtol=1e-8
    )
    unknown = OutputStatistics.of_table(table, np.zeros(40))
    assert unknown.count == 40


def test_merging_is_seeing_both():
    values = outputs()
    one, other = OutputStatistics(6), OutputStatistics(6)
    one.update(values[:100].reshape(10, 10, 6))
    other.update(values[100:])
    one.merge(other)
    np.testing.assert_allclose(
        one.covariance, np.cov(values.T, bias=True), rtol=1e-8
    )


def test_moments_merge_in_a_graph():
    values = tf.constant(outputs())

    @tf.function(jit_compile=True)
    def both(values):
        return merged(moments(values[:7]), moments(values[7:]))

    count, mean, scatter = both(values)
    assert count == 500
    np.testing.assert_allclose(mean, np.mean(values, 0), rtol=1e-10)
    np.testing.assert_allclose(
        scatter / 500, np.cov(np.transpose(values), bias=True), rtol=1e-8
    )


def test_principal_directions():
    generator = np.random.default_rng(0)
    plane = np.linalg.qr(generator.normal(size=(5, 2)))[0]
    center = generator.normal(size=5)
    values = center + generator.normal(size=(300, 2)) * (3, 1) @ plane.T
    statistics = OutputStatistics(5)
    statistics.update(values)
    mean, basis, variances = statistics.principal(2)
    np.testing.assert_allclose(basis.T @ basis, np.eye(2), atol=1e-12)
    back = (values - mean) @ basis @ basis.T + mean
    np.testing.assert_allclose(back, values, atol=1e-9)
    assert variances[0] > variances[1] > 0
    assert (mean @ basis >= 0).all()
    assert statistics.kept_variance(2) == pytest.approx(1.0)
    assert statistics.rank_for(1.0) == 2
    assert statistics.rank_for(statistics.kept_variance(1)) == 1


def test_constant_outputs_need_one_direction():
    statistics = OutputStatistics(3)
    statistics.update(np.ones((4, 3)))
    assert statistics.rank_for(0.99) == 1
    assert statistics.kept_variance(1) == 1.0


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda s: OutputStatistics(0), "`dim` must be"),
        (lambda s: s.update(np.ones((2, 4))), r"`values` must be \[\.\.\., 3"),
        (
            lambda s: s.update(np.ones((2, 3)), np.ones(3)),
            "`weights` must have",
        ),
        (lambda s: s.update(np.ones((1, 3)), [-1.0]), "`weights` must be at"),
        (lambda s: s.principal(4), "`rank` must be .* rank=4"),
        (lambda s: s.principal(1), "need data"),
        (lambda s: s.rank_for(0.0), "`kept_variance` must lie"),
        (lambda s: s.merge(OutputStatistics(2)), "`mean` must have"),
        (
            lambda s: OutputStatistics.of_table(np.ones((4, 3)), np.ones(3)),
            "`counts` must have",
        ),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call(OutputStatistics(3))


def test_values_must_be_finite():
    statistics = OutputStatistics(3)
    statistics.update(np.full((2, 3), np.nan))
    with pytest.raises(ValueError, match="must be finite"):
        statistics.principal(1)
