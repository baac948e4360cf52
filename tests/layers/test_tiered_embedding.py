import numpy as np
import pytest
import tensorflow as tf

from mec_tf.layers import (
    CodeLookupEmbedding,
    ProductQuantizedEmbedding,
    ResidualQuantizedEmbedding,
    TableEmbedding,
    TieredEmbedding,
)
from tests.harness import raw_variable, run_layer_test

IDS = np.array([[1, 2, 0], [4, 9, 7]], "int32")
TABLE = np.random.default_rng(0).normal(size=(50, 5)).astype("float32")
COUNTS = np.arange(50)[::-1].copy()


def value(weight):
    return raw_variable(weight).numpy()


def tiers(additive=1):
    """An exact one and two quantized ones: 50 rows less 10 that share."""
    return [
        TableEmbedding(8, 5, additive_dim=additive),
        ResidualQuantizedEmbedding(12, 5, 2, 4, additive_dim=additive),
        ProductQuantizedEmbedding(20, 5, 1, 2, additive_dim=additive),
    ]


def started(**kwargs):
    layer = TieredEmbedding(
        50, 5, tiers(), private_rows=40, additive_dim=1, **kwargs
    )
    layer.warm_start(TABLE, COUNTS)
    return layer


def test_contract():
    def tier(rows, **kwargs):
        return ProductQuantizedEmbedding(
            rows, 4, 2, 2, pwr_weight=0.1, contrastive_weight=0.3, **kwargs
        )

    run_layer_test(
        TieredEmbedding,
        {
            "input_dim": 12,
            "output_dim": 4,
            "tiers": [TableEmbedding(2, 4), tier(3), tier(3)],
            "private_rows": 8,
            "mask_zero": True,
        },
        IDS,
        expected_output_shape=(2, 3, 4),
        expected_mask=IDS != 0,
        expected_num_trainable_weights=3,
        expected_num_non_trainable_weights=8,
        prepare=lambda layer: layer.add_counts(np.arange(12)),
        supports_ragged=True,
    )


def test_each_row_is_answered_by_its_tier():
    layer = started()
    ids = np.arange(-1, 51)
    out = layer(ids).numpy()
    inside = [tier(np.arange(tier.input_dim)) for tier in layer.tiers]
    np.testing.assert_array_equal(out[1:41], np.concatenate(inside))
    np.testing.assert_array_equal(out[2:9], TABLE[1:8])
    # The rows after the private ones share row 0, their mean.
    np.testing.assert_array_equal(out[41:51], np.tile(out[1], (10, 1)))
    shared = np.concatenate([TABLE[:1], TABLE[40:]])
    weights = np.append(COUNTS[:1], COUNTS[40:])
    mean = np.average(shared, axis=0, weights=weights)
    np.testing.assert_allclose(out[1], mean, rtol=1e-5)
    np.testing.assert_array_equal(out[[0, -1]], 0)


def test_counts_go_to_their_tiers():
    layer = started()
    np.testing.assert_array_equal(
        value(layer.tiers[2].popularity), COUNTS[20:40]
    )
    head = TieredEmbedding(50, 5, [ProductQuantizedEmbedding(40, 5, 1, 4)],
                           private_rows=40)  # fmt: skip
    head.add_counts(COUNTS)
    expected = COUNTS[:40] + np.eye(1, 40)[0] * COUNTS[40:].sum()
    np.testing.assert_array_equal(value(head.tiers[0].popularity), expected)


def test_freezes_bit_for_bit():
    layer = started(mask_zero=True, oov=3, name="table")
    ids = np.arange(-2, 52)
    frozen = layer.freeze(
        tiers=[{}, {"bit_packed": True}, {"bit_packed": True}]
    )
    kinds = [type(tier) for tier in frozen.tiers]
    assert kinds == [TableEmbedding, CodeLookupEmbedding, CodeLookupEmbedding]
    assert [t.name for t in frozen.tiers] == [t.name for t in layer.tiers]
    assert (frozen.name, frozen.oov, frozen.mask_zero) == ("table", 3, True)
    np.testing.assert_array_equal(frozen(ids), layer(ids))
    assert all(t.bit_packed for t in frozen.tiers[1:])
    # What is frozen already is copied, not shared.
    again = frozen.freeze()
    for weight, other in zip(again.weights, frozen.weights, strict=True):
        assert raw_variable(weight) is not raw_variable(other)
        np.testing.assert_array_equal(value(weight), value(other))


def test_freezes_an_earlier_state():
    layer = started()
    before, state = layer(np.arange(50)).numpy(), layer.frozen_state()
    layer.warm_start(TABLE[::-1], COUNTS)
    frozen = layer.freeze(state, tiers=[{}] * 3)
    np.testing.assert_array_equal(frozen(np.arange(50)), before)


def test_lookups_of_other_tiers_do_not_count():
    layer = TieredEmbedding(
        20,
        4,
        [
            ProductQuantizedEmbedding(10, 4, 1, 4, commitment_weight=1.0),
            ProductQuantizedEmbedding(10, 4, 1, 4, commitment_weight=1.0),
        ],
        mask_zero=True,
    )
    layer.warm_start(np.random.default_rng(1).normal(size=(20, 4)))
    alone = [
        ProductQuantizedEmbedding.from_config(tier.get_config())
        for tier in layer.tiers
    ]
    for tier, twin in zip(layer.tiers, alone, strict=True):
        twin.build()
        twin.set_weights(tier.get_weights())
    layer(np.array([0, 0, 4, 7, 19, 20, -1]), training=True)
    losses = [float(loss) for loss in layer.losses]
    expected = []
    for twin, ids in zip(alone, ([4, 7], [9]), strict=True):
        twin(np.array(ids), training=True)
        expected += [float(loss) for loss in twin.losses]
    np.testing.assert_allclose(losses, expected, rtol=1e-5)
    for tier, twin in zip(layer.tiers, alone, strict=True):
        np.testing.assert_allclose(
            value(tier.codebooks), value(twin.codebooks), rtol=1e-5
        )


def test_dead_codes_move_to_rows_that_were_looked_up():
    layer = TieredEmbedding(
        20, 4, [ProductQuantizedEmbedding(10, 4, 1, 2) for _ in range(2)]
    )
    layer.warm_start(np.random.default_rng(1).normal(size=(20, 4)))
    tier = layer.tiers[1]
    dead = value(tier.moving)
    dead[0, 1] = [1e3, 1e3, 1e3, 1e3, 1e-6]
    raw_variable(tier.moving).assign(dead)
    raw_variable(tier.codebooks).assign(dead[..., :4] / dead[..., 4:])
    # Row 10 stands in for the popular ones.
    layer(np.append(np.arange(10).repeat(20), 15), training=True)
    np.testing.assert_allclose(
        value(tier.codebooks)[0, 1], value(tier.embeddings)[5], rtol=1e-5
    )


def test_learning_reaches_the_quantized_tiers():
    layer = started()
    assert not layer.learning
    layer.learning = True
    assert [t.learning for t in layer.tiers[1:]] == [True, True]
    layer(np.array([9, 30]))
    assert len(layer.losses) == 2


def test_a_layer_that_does_not_train_has_tiers_that_do_not():
    layer = TieredEmbedding(50, 5, tiers(), private_rows=40, trainable=False)
    model = tf.keras.Sequential([layer, tf.keras.layers.Dense(1)])
    model(IDS)
    assert len(model.trainable_weights) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((9, 4, [TableEmbedding(8, 4)]), "must have 9 rows .*8, 4"),
        ((8, 5, [TableEmbedding(8, 4)]), "of 5 columns.*8, 4"),
        ((8, 5, []), r"must have 8 rows .*\[\]"),
        ((8, 4, [tf.keras.layers.Embedding(8, 4)]), "`tiers` must be table"),
        ((8, 4, [TableEmbedding(8, 4, private_rows=2)]), "`private_rows`"),
    ],
)
def test_errors_name_what_was_received(arguments, message):
    with pytest.raises(ValueError, match=message):
        TieredEmbedding(*arguments)


def test_a_warm_start_must_fit():
    layer = started()
    with pytest.raises(ValueError, match=r"\[50, 5\].*\(3, 5\)"):
        layer.warm_start(TABLE[:3])
    with pytest.raises(ValueError, match="row 44"):
        layer.warm_start(np.where(np.arange(50)[:, None] == 44, np.nan, TABLE))
    with pytest.raises(ValueError, match=r"\(50,\).*\(3,\)"):
        layer.add_counts(COUNTS[:3])
