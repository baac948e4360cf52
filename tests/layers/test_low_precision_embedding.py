import numpy as np
import pytest
import tensorflow as tf

from mec_tf.layers import IntegerEmbedding, LowPrecisionEmbedding
from mec_tf.quantizers import integers
from tests.harness import raw_variable, run_layer_test

IDS = np.array([[1, 2, 0], [4, 5, 3]], "int32")
REPEATED = np.array([3, 1, 3, 9, 3, 1, -1, 50], "int32")
PULLS = np.random.default_rng(0).normal(size=(8, 5)).astype("float32")


def make(**config):
    config = {
        "rounding": "deterministic",
        "learned_steps": False,
        "row_optimizer": "sgd",
        "row_learning_rate": 0.05,
        **config,
    }
    layer = LowPrecisionEmbedding(20, 5, **config)
    layer.build()
    return layer


def whole(layer):
    codes = raw_variable(layer.codes).numpy()
    return integers.unpack_table(codes, layer.output_dim, layer.bits)


def pull(layer, ids=REPEATED, pulls=PULLS, jit_compile=None, scale=1.0):
    """One step on a loss whose gradient by the vectors is `pulls`."""

    def step(ids, pulls):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(layer(ids, training=True) * pulls)
            loss = scale * (loss + sum(layer.losses))
        return tape.gradient(loss, raw_variable(layer.anchor))

    if jit_compile is not None:
        step = tf.function(step, jit_compile=jit_compile)
    assert float(step(tf.constant(ids), tf.constant(pulls))) == 0.0


def test_contract():
    run_layer_test(
        LowPrecisionEmbedding,
        {
            "input_dim": 6,
            "output_dim": 5,
            "bits": 4,
            "rounding": "deterministic",
            "step_sizes": "table",
            "learned_steps": False,
            "initial_step": 0.02,
            "row_optimizer": "adam",
            "row_learning_rate": 0.1,
            "step_optimizer": "sgd",
            "seed": 3,
            "additive_dim": 1,
            "private_rows": 5,
            "mask_zero": True,
            "oov": 2,
        },
        IDS,
        expected_output_shape=(2, 3, 5),
        expected_mask=IDS != 0,
        expected_num_trainable_weights=1,
        expected_num_non_trainable_weights=4,
        supports_ragged=True,
    )


@pytest.mark.parametrize(
    "bits, optimizer, jit_compile",
    [
        (8, "sgd", True),
        (8, "adagrad", False),
        (4, "adagrad", True),
        (4, "sgd", None),
        (2, "sgd", True),
        (2, "adagrad", None),
    ],
)
def test_step_is_that_of_numpy(bits, optimizer, jit_compile):
    layer = make(bits=bits, row_optimizer=optimizer)
    before = whole(layer).astype("float64")
    pull(layer, jit_compile=jit_compile)
    low, high = integers.integer_range(bits)
    expected = before.copy()
    for row in (1, 3, 9):
        gradient = PULLS[row == REPEATED].sum(axis=0).astype("float64")
        if optimizer == "adagrad":
            gradient /= np.sqrt(np.square(gradient).mean())
        moved = 0.01 * before[row] - 0.05 * gradient
        expected[row] = np.clip(np.floor(moved / 0.01 + 0.5), low, high)
    np.testing.assert_array_equal(whole(layer), expected)
    assert (expected != before).any()
    assert raw_variable(layer.counter).numpy() == 1


@pytest.mark.parametrize("jit_compile", [False, True])
def test_stochastic_rounding_is_right_on_average(jit_compile):
    layer = LowPrecisionEmbedding(
        2000,
        5,
        learned_steps=False,
        row_optimizer="sgd",
        row_learning_rate=0.05,
        embeddings_initializer="zeros",
        seed=1,
    )
    layer.build()
    ids = np.repeat(np.arange(2000, dtype="int32"), 2)
    pulls = np.full((4000, 5), -0.03, "float32")  # 0.003: 0.3 step sizes
    pull(layer, ids, pulls, jit_compile)
    rows = whole(layer)
    assert set(np.unique(rows)) == {0, 1}
    assert abs(rows.mean() - 0.3) < 0.02
    assert abs(np.corrcoef(rows.T)[0, 1]) < 0.1


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_padding_and_ids_out_of_range_update_nothing(optimizer):
    layer = make(mask_zero=True, row_optimizer=optimizer)
    before = layer.get_weights()
    ids = np.array([0, -1, 20, 99], "int32")
    pull(layer, ids, PULLS[:4])
    for one, other in zip(layer.get_weights()[:-1], before, strict=False):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("scale", [1024.0, 0.25])
def test_a_loss_scale_is_divided_out(scale):
    one, other = make(), make()
    other.set_weights(one.get_weights())
    pull(one)
    pull(other, scale=scale)
    np.testing.assert_array_equal(whole(one), whole(other))


def test_gradients_that_are_not_finite_are_skipped():
    layer = make()
    before = whole(layer)
    pull(layer, pulls=np.where(PULLS > 1.0, np.inf, PULLS))
    np.testing.assert_array_equal(whole(layer), before)


def test_float16_without_a_known_loss_scale_is_refused():
    layer = make(dtype="mixed_float16")
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(REPEATED))
    with pytest.raises(ValueError, match="must pass `training` on"):
        tape.gradient(loss, raw_variable(layer.anchor))


def test_lookups_of_one_step_come_one_after_the_other():
    once, twice = make(), make()
    twice.set_weights(once.get_weights())
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(once(REPEATED) * PULLS)
        loss += tf.reduce_sum(once(REPEATED) * PULLS)
    tape.gradient(loss, raw_variable(once.anchor))
    pull(twice)
    pull(twice)
    np.testing.assert_array_equal(whole(once), whole(twice))


def test_a_table_that_is_not_trainable_stands_still():
    layer = make()
    before = whole(layer)
    layer.trainable = False
    model = tf.keras.Sequential([layer, tf.keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    model.fit(IDS, np.ones((2, 3, 1)), verbose=0)
    np.testing.assert_array_equal(whole(layer), before)


def test_bytes_in_training():
    layer = LowPrecisionEmbedding(1000, 16)
    layer.build()
    held = sum(raw_variable(w).numpy().nbytes for w in layer.weights)
    # Integers, step size and its Adam, row-wise Adagrad; anchor and counter.
    assert held == 1000 * (16 + 4 + 8 + 4) + 12
    assert held < 0.3 * 3 * 1000 * 16 * 4


@pytest.mark.parametrize("step_sizes", ["row", "table"])
@pytest.mark.parametrize("bits", [8, 4, 2])
def test_freeze_answers_bit_for_bit(bits, step_sizes):
    layer = LowPrecisionEmbedding(
        20, 5, bits=bits, step_sizes=step_sizes, private_rows=15, oov=2
    )
    table = np.random.default_rng(1).normal(size=(20, 5))
    layer.warm_start(table, np.arange(20))
    frozen = layer.freeze()
    assert isinstance(frozen, IntegerEmbedding)
    ids = np.arange(-1, 22)
    np.testing.assert_array_equal(frozen(ids), layer(ids))
    earlier = layer.frozen_state()
    layer.warm_start(-table)
    again = layer.freeze(earlier, step_dtype="float16")
    np.testing.assert_allclose(again(ids), frozen(ids), rtol=1e-3)


def test_warm_start_keeps_a_step_that_was_given():
    layer = LowPrecisionEmbedding(50, 16, initial_step=0.125)
    layer.warm_start(np.random.default_rng(1).normal(size=(50, 16)))
    np.testing.assert_array_equal(raw_variable(layer.steps), 0.125)
    assert LowPrecisionEmbedding.from_config(
        layer.get_config()
    ).initial_step == pytest.approx(0.125)


def test_warm_start_is_near_the_table():
    layer = LowPrecisionEmbedding(50, 16)
    table = np.random.default_rng(1).normal(size=(50, 16))
    table[7] = 0
    layer.warm_start(table)
    steps = raw_variable(layer.steps).numpy()
    assert steps[7] == pytest.approx(0.01)
    assert (np.delete(steps, 7) <= np.abs(table).max() / 127 * 1.001).all()
    rounded = IntegerEmbedding.from_table(table, 8)(np.arange(50))
    np.testing.assert_allclose(layer(np.arange(50)), rounded, rtol=1e-5)


def test_rows_start_as_the_initializer_says():
    layer = LowPrecisionEmbedding(70000, 2, initial_step=0.001)
    layer.build()
    rows = whole(layer)
    assert abs(rows.std() - 50 / np.sqrt(3)) < 0.5
    assert (rows[:4000] != rows[65536:69536]).any(axis=1).mean() > 0.95


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"bits": 3}, "`bits` must be .* bits=3"),
        ({"rounding": "up"}, "`rounding` must be .* rounding='up'"),
        ({"step_sizes": "x"}, "`step_sizes` must be .* step_sizes='x'"),
        ({"row_optimizer": "x"}, "`row_optimizer` must be .*'x'"),
        ({"step_optimizer": "x"}, "`step_optimizer` must be .*'x'"),
        ({"initial_step": 0}, "`initial_step` must be .* initial_step=0"),
        ({"row_learning_rate": -1}, "`row_learning_rate` must be .*=-1"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        LowPrecisionEmbedding(6, 4, **arguments)
