import pytest

from mec_tf.compression import hashed_layers, layer_bytes
from mec_tf.compression.hashing import most_remainders
from mec_tf.layers import (
    HashedEmbedding,
    QuotientRemainderEmbedding,
    TableEmbedding,
)

SHAPES = {"user": (30_000, 9), "item": (10_000, 9), "day": (7, 9)}
FULL = sum(rows * width * 4 for rows, width in SHAPES.values())


@pytest.mark.parametrize(
    "method, kind",
    [
        ("hash", HashedEmbedding),
        ("quotient_remainder", QuotientRemainderEmbedding),
    ],
)
def test_fills_the_budget_and_keeps_small_tables(method, kind):
    budget = FULL // 50
    make = hashed_layers(SHAPES, budget, method)
    made = {name: make(name, *shape, 1) for name, shape in SHAPES.items()}
    for layer in made.values():
        layer.build()
    assert isinstance(made["day"], TableEmbedding)
    assert isinstance(made["user"], kind) and isinstance(made["item"], kind)
    sizes = {name: layer_bytes(layer) for name, layer in made.items()}
    assert 0.99 * budget < sum(sizes.values()) <= budget
    assert sizes["user"] > 1.5 * sizes["item"]
    assert all(layer.additive_dim == 1 for layer in made.values())


def test_a_budget_of_the_whole_keeps_all_exact():
    make = hashed_layers(SHAPES, FULL)
    for name, shape in SHAPES.items():
        assert isinstance(make(name, *shape, 0), TableEmbedding)


@pytest.mark.parametrize("input_dim", [1, 2, 10, 97, 1000])
def test_most_remainders(input_dim):
    for rows in range(2 * input_dim):
        fitting = [
            m for m in range(1, input_dim + 1) if m + -(-input_dim // m) <= rows
        ]
        if fitting and rows < input_dim:
            assert most_remainders(input_dim, rows) == max(fitting)


@pytest.mark.parametrize(
    "budget, method, message",
    [
        (FULL, "bloom", "`method` must be one of hash, .* method='bloom'"),
        (3 * 36 - 1, "hash", "`max_bytes` must be at least 108 .* max_bytes"),
        (1000, "quotient_remainder", "`max_bytes` must be at least"),
    ],
)
def test_bad_arguments(budget, method, message):
    with pytest.raises(ValueError, match=message):
        hashed_layers(SHAPES, budget, method)
