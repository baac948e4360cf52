"""Two replicas learn what one learns from the same global batches."""

import numpy as np
import pytest
import tensorflow as tf

import mec_tf
from mec_tf.optimizers import LazyAdagrad, LazyAdam
from tests.distributed.cases import (
    additive,
    compressed,
    gradient,
    product,
    residual,
    trained,
)
from tests.harness import mirrored_strategy, raw_variable


def assert_alike(model, single, strategy, atol=1e-5):
    for weight, goal in zip(model.weights, single.weights, strict=True):
        replicas = strategy.experimental_local_results(raw_variable(weight))
        assert len(replicas) == 2
        for replica in replicas:
            np.testing.assert_array_equal(replica, replicas[0], weight.name)
        np.testing.assert_allclose(
            replicas[0], raw_variable(goal), atol=atol, err_msg=weight.name
        )


@pytest.mark.parametrize(
    "makers, optimizer",
    [
        ((product, residual), LazyAdam),
        ((gradient, additive), LazyAdagrad),
    ],
    ids=["averages", "gradients"],
)
def test_as_one_replica(makers, optimizer):
    single, logs = trained(makers, optimizer)
    strategy = mirrored_strategy()
    with strategy.scope():
        model, theirs = trained(makers, optimizer)
    assert_alike(model, single, strategy)
    assert set(theirs) == set(logs)
    for name, values in logs.items():
        np.testing.assert_allclose(theirs[name], values, rtol=1e-4)


def test_a_batch_too_small_for_all():
    """A batch of one example leaves nothing for the second replica."""
    strategy = mirrored_strategy()
    with strategy.scope():
        model, logs = trained([product], LazyAdam, examples=49)
    assert np.isfinite(logs["loss"]).all()
    assert_alike(model, model, strategy)


@pytest.mark.parametrize("start", ["warm", "cold"])
def test_compress(start):
    single = compressed(start=start)
    result = compressed(mirrored_strategy(), start)
    np.testing.assert_allclose(
        result.report.score[1:], single.report.score[1:], rtol=1e-4
    )
    assert result.report.score[2] < result.report.score[1]
    for weight, goal in zip(
        result.model.weights, single.model.weights, strict=True
    ):
        assert not isinstance(
            raw_variable(weight), tf.distribute.DistributedValues
        )
        np.testing.assert_allclose(
            raw_variable(weight), raw_variable(goal), atol=1e-5
        )


def test_an_optimizer_of_the_callers():
    result = compressed(mirrored_strategy(), optimizer=LazyAdam(0.01), epochs=1)
    assert result.report.score[2] <= result.report.score[1]


@pytest.mark.parametrize(
    "options, error, message",
    [
        ({"strategy": "mirrored"}, TypeError, "`strategy` must be a tf.dist"),
        (
            # A whole one needs a cluster.
            {"strategy": object.__new__(tf.distribute.ParameterServerStrategy)},
            ValueError,
            "`strategy` must keep its replicas in step",
        ),
        (
            {"policy": mec_tf.CompressionPolicy(method="alpt", ratio=3)},
            ValueError,
            "`strategy` must have one replica",
        ),
    ],
)
def test_refused(options, error, message):
    options = {"strategy": mirrored_strategy(), **options}
    with pytest.raises(error, match=message):
        compressed(**options)
