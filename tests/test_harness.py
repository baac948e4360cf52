"""The harness passes sound layers and catches broken ones."""

import numpy as np
import pytest
import tensorflow as tf

from tests.harness import assert_allclose, assert_identical, run_layer_test

IDS = np.array([[1, 4, 0], [2, 2, 3]], "int32")
# Stock layers take arguments that they do not store, on purpose.
EMBEDDING_EXTRAS = ("weights", "lora_rank", "lora_alpha", "sparse")
DENSE_EXTRAS = ("activity_regularizer", "lora_rank", "lora_alpha")


@tf.keras.utils.register_keras_serializable("test_harness")
class Table(tf.keras.layers.Layer):
    """A small embedding layer that keeps the whole contract.

    The broken layers below each break one thing of it.
    """

    def __init__(self, rows, width=2, mask_zero=False, **kwargs):
        super().__init__(**kwargs)
        self.rows = rows
        self.width = width
        self.mask_zero = mask_zero
        self.supports_masking = mask_zero

    def build(self, input_shape):
        self.table = self.add_weight(
            name="table", shape=(self.rows, self.width), initializer="normal"
        )
        super().build(input_shape)

    def call(self, ids):
        return self.look_up(tf.cast(ids, tf.int32))

    def look_up(self, ids):
        return tf.gather(self.table, ids)

    def compute_mask(self, ids, mask=None):
        return tf.not_equal(ids, 0) if self.mask_zero else None

    def compute_output_shape(self, input_shape):
        return (*input_shape, self.width)

    def get_config(self):
        return {
            **super().get_config(),
            "rows": self.rows,
            "width": self.width,
            "mask_zero": self.mask_zero,
        }


class ForgetsArgument(Table):
    def get_config(self):
        config = super().get_config()
        del config["width"]
        return config


class StoresConstant(Table):
    def get_config(self):
        return {**super().get_config(), "width": 2}


class PopsFromCallersConfig(Table):
    @classmethod
    def from_config(cls, config):
        return cls(rows=config.pop("rows"), **config)


class LiesAboutShape(Table):
    def compute_output_shape(self, input_shape):
        return (*input_shape, self.width + 1)


class LosesMask(Table):
    def compute_mask(self, ids, mask=None):
        return None


class CountsInference(Table):
    def look_up(self, ids):
        self.table.assign(self.table + 1.0)
        return tf.gather(self.table, ids)


class DiffersInGraph(Table):
    def look_up(self, ids):
        rows = super().look_up(ids)
        return rows if tf.executing_eagerly() else rows + 1.0


class DiffersUnderXla(Table):
    def look_up(self, ids):
        rows = super().look_up(ids)
        # Out of range, a cast wraps on the CPU and saturates under XLA.
        return rows + tf.cast(tf.cast(rows + 1e20, tf.int32), rows.dtype)


class OverflowsSmallIntegers(Table):
    def call(self, ids):
        ids = ids * 100 // 100
        return self.look_up(tf.cast(ids, tf.int32) % self.rows)


class IgnoresPolicy(Table):
    def look_up(self, ids):
        return tf.cast(super().look_up(ids), tf.float32)


class DensifiesRagged(Table):
    def call(self, ids):
        if isinstance(ids, tf.RaggedTensor):
            ids = ids.to_tensor()
        return super().call(ids)


@tf.keras.utils.register_keras_serializable("test_harness")
class HidesState(Table):
    offset = 0.0

    def look_up(self, ids):
        return super().look_up(ids) + self.offset


class IsNotRegistered(Table):
    """Sound, but `.keras` files cannot name it."""


@tf.keras.utils.register_keras_serializable("test_harness")
class HidesVariable(Table):
    def build(self, input_shape):
        super().build(input_shape)
        hidden = tf.Variable(1.0)
        self.hidden = lambda: hidden

    def look_up(self, ids):
        rows = super().look_up(ids)
        return rows * tf.cast(self.hidden(), rows.dtype)


@tf.keras.utils.register_keras_serializable("test_harness")
class BlocksGradient(Table):
    def look_up(self, ids):
        return tf.stop_gradient(super().look_up(ids))


@tf.keras.utils.register_keras_serializable("test_harness")
class DriftsApart(Table):
    def build(self, input_shape):
        super().build(input_shape)
        self.seen = self.add_weight(
            name="seen", shape=(), initializer="zeros", trainable=False
        )

    def call(self, ids, training=False):
        if training:
            self.seen.assign(tf.reduce_mean(tf.cast(ids, tf.float32)))
        return super().call(ids)


def check(layer_class, **options):
    options = {"expected_output_shape": (2, 3, 4), **options}
    return run_layer_test(layer_class, {"rows": 5, "width": 4}, IDS, **options)


def test_table_passes():
    layer = check(
        Table,
        expected_num_trainable_weights=1,
        expected_num_non_trainable_weights=0,
        prepare=lambda layer: layer.set_weights([np.eye(5, 4)]),
        supports_ragged=True,
    )
    assert_identical(layer.get_weights(), [np.eye(5, 4, dtype="float32")])


@pytest.mark.parametrize("mask_zero", [False, True])
def test_embedding_passes(mask_zero):
    run_layer_test(
        tf.keras.layers.Embedding,
        {"input_dim": 5, "output_dim": 4, "mask_zero": mask_zero},
        IDS,
        expected_output_shape=(2, 3, 4),
        expected_mask=IDS != 0 if mask_zero else None,
        expected_num_trainable_weights=1,
        not_in_config=EMBEDDING_EXTRAS,
        supports_ragged=True,
    )


def test_dense_passes():
    run_layer_test(
        tf.keras.layers.Dense,
        {"units": 4, "activation": "tanh"},
        np.linspace(-1, 1, 6, dtype="float32").reshape(2, 3),
        expected_output_shape=(2, 4),
        expected_num_trainable_weights=2,
        not_in_config=DENSE_EXTRAS,
    )


def test_list_inputs_pass():
    run_layer_test(
        tf.keras.layers.Concatenate,
        {"axis": 1},
        [np.ones((2, 3), "float32"), np.zeros((2, 1), "float32")],
        expected_output_shape=(2, 4),
        expected_num_trainable_weights=0,
    )


@pytest.mark.parametrize(
    "layer_class, complaint",
    [
        (ForgetsArgument, "missing from get_config"),
        (StoresConstant, "was lost"),
        (PopsFromCallersConfig, "changed its argument"),
        (LiesAboutShape, "compute_output_shape"),
        (CountsInference, "inference has state"),
        (DiffersInGraph, "in a graph"),
        (DiffersUnderXla, "under XLA"),
        (OverflowsSmallIntegers, "int8 inputs"),
        (IgnoresPolicy, "mixed_float16"),
        (BlocksGradient, "no gradient"),
    ],
)
def test_broken_layer_is_caught(layer_class, complaint):
    with pytest.raises(AssertionError, match=complaint):
        check(layer_class)


def test_wrong_expectations_are_caught():
    with pytest.raises(AssertionError, match="output shape"):
        check(Table, expected_output_shape=(7, 3, 4))
    with pytest.raises(AssertionError):
        check(Table, expected_num_trainable_weights=2)
    with pytest.raises(AssertionError, match="no mask"):
        check(Table, expected_mask=IDS != 0)
    with pytest.raises(AssertionError, match="no mask"):
        run_layer_test(
            LosesMask,
            {"rows": 5, "mask_zero": True},
            IDS,
            expected_output_shape=(2, 3, 2),
            expected_mask=IDS != 0,
        )


def test_dense_output_for_ragged_inputs_is_caught():
    with pytest.raises(AssertionError, match="not ragged"):
        check(DensifiesRagged, supports_ragged=True)


def test_state_outside_the_weights_is_caught():
    def prepare(layer):
        layer.offset = 3.0

    with pytest.raises(AssertionError):
        check(HidesState, prepare=prepare)


def test_unregistered_layer_is_caught():
    # Keras 3 names the class; Keras 2 fails to call it.
    complaint = "IsNotRegistered|'str' object is not callable"
    with pytest.raises((TypeError, ValueError), match=complaint):
        check(IsNotRegistered)


def test_untracked_variable_is_caught():
    with pytest.raises(AssertionError, match="untracked"):
        check(HidesVariable)


def test_diverging_replicas_are_caught():
    with pytest.raises((AssertionError, ValueError), match="drifted|aggregat"):
        check(DriftsApart)


def test_comparisons_look_at_every_leaf():
    one = {"a": np.zeros(2), "b": [np.ones(3), 2.0]}
    other = {"a": np.zeros(2), "b": [np.ones(3), 2.1]}
    assert_allclose(one, one)
    assert_identical(one, one)
    for compare in (assert_allclose, assert_identical):
        with pytest.raises(AssertionError):
            compare(one, other)
        with pytest.raises((TypeError, ValueError)):
            compare(one, one["a"])
    with pytest.raises(AssertionError):
        assert_identical(np.zeros(2, "float32"), np.zeros(2, "float64"))
