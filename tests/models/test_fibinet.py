import itertools

import numpy as np
import pytest

from mec_tf.models import FiBiNET
from tests.harness import raw_variable

SIZES = {"a": 5, "b": 4, "c": 3}
IDS = {"a": np.array([1, 2]), "b": np.array([0, 3]), "c": np.array([2, 0])}
PAIRS = list(itertools.combinations(range(3), 2))


def products(vectors, kernel):
    """Of all pairs, a matrix each, side by side."""
    columns = [
        vectors[:, f] @ kernel[pair] * vectors[:, g]
        for pair, (f, g) in enumerate(PAIRS)
    ]
    return np.concatenate(columns, axis=1)


def test_logits_follow_the_formula():
    model = FiBiNET(
        SIZES,
        {"x": (0.0, 1.0)},
        embedding_dim=2,
        hidden_units=(6,),
        reduction_ratio=1,
        embeddings_initializer="glorot_uniform",
    )
    # The weights of fields must not all be zero here.
    model.build()
    for weight in (model.senet.squeeze, model.senet.excite):
        raw_variable(weight).assign(np.abs(raw_variable(weight).numpy()))
    table = model.field_embeddings.tables["a"].embeddings
    raw_variable(table).assign(np.full((5, 3), 2.0) + np.arange(5)[:, None])
    logits = model({**IDS, "x": np.array([-4.0, 9.0], "float32")})

    tables = model.field_embeddings.tables
    rows = np.stack(
        [raw_variable(tables[n].embeddings).numpy()[IDS[n]] for n in IDS], 1
    )
    vectors, first_order = rows[..., :2], rows[..., 2]
    number = np.array([[-np.log1p(4.0)], [np.log1p(9.0)]])
    squeeze, excite = model.senet.get_weights()
    hidden = np.maximum(vectors.mean(axis=2) @ squeeze, 0)
    weights = np.maximum(hidden @ excite, 0)
    assert (weights > 0).all()
    weighed = vectors * weights[..., None]
    (kernel,) = model.bilinear.get_weights()
    (other,) = model.senet_bilinear.get_weights()
    inputs = np.concatenate(
        [products(vectors, kernel), products(weighed, other), number], axis=1
    )
    kernel, bias = model.tower.get_weights()
    hidden = np.maximum(inputs @ kernel + bias, 0.0)
    kernel, bias = model.head.get_weights()
    (linear,) = model.linear.get_weights()
    expected = (
        hidden @ kernel
        + bias
        + first_order.sum(axis=1, keepdims=True)
        + number * linear
    )
    np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "bilinear_type, matrices", [("all", 1), ("each", 2), ("interaction", 3)]
)
def test_bilinear_types(bilinear_type, matrices):
    model = FiBiNET(
        SIZES,
        embedding_dim=2,
        hidden_units=(6,),
        bilinear_type=bilinear_type,
        reduction_ratio=2,
    )
    assert model(IDS).shape == (2, 1)
    for layer in (model.bilinear, model.senet_bilinear):
        assert tuple(raw_variable(layer.kernel).shape) == (matrices, 2, 2)
    twin = FiBiNET.from_config(model.get_config())
    assert twin.bilinear.bilinear_type == bilinear_type
    assert twin.senet_bilinear.bilinear_type == bilinear_type
    assert twin.senet.reduction_ratio == 2


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"categorical": {"a": 5}}, "at least two features"),
        ({"bilinear_type": "none"}, "bilinear_type='none'"),
        ({"reduction_ratio": 0}, "reduction_ratio=0"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        FiBiNET(**{"categorical": SIZES, **arguments})
