"""What people's models hold besides tables, through `compress`."""

import numpy as np
import pytest
import tensorflow as tf

import mec_tf
from mec_tf.layers import CodeLookupEmbedding, TableEmbedding

ROWS, WIDTH = 200, 4
layers = tf.keras.layers


def ids(size=512):
    return np.random.default_rng(0).integers(1, ROWS, (size, WIDTH))


def labels(size=512):
    return np.random.default_rng(1).normal(size=(size, 1)).astype(np.float32)


def compress(model, inputs=None, **kwargs):
    inputs = ids() if inputs is None else inputs
    data = tf.data.Dataset.from_tensor_slices((inputs, labels())).batch(64)
    if getattr(model, "optimizer", None) is None:
        model.compile("adam", "mse")
    model.fit(data, verbose=0)
    kwargs.setdefault("policy", mec_tf.CompressionPolicy(ratio=2))
    return mec_tf.compress(
        model, data, validation_data=data, epochs=1, verbose=0, **kwargs
    )


def masked_lstm():
    inputs = tf.keras.Input((WIDTH,), dtype="int32")
    table = layers.Embedding(ROWS, 8, mask_zero=True, name="table")
    return tf.keras.Model(
        inputs, layers.Dense(1)(layers.LSTM(4)(table(inputs)))
    )


def operations():
    inputs = tf.keras.Input((WIDTH,), dtype="int32")
    vectors = layers.Embedding(ROWS, 8, name="table")(inputs) * 2.0
    return tf.keras.Model(
        inputs, layers.Dense(1)(layers.Flatten()(vectors + 1.0))
    )


def normalized():
    inputs = tf.keras.Input((WIDTH,), dtype="int32")
    vectors = layers.Flatten()(layers.Embedding(ROWS, 8, name="t")(inputs))
    hidden = layers.Dropout(0.2)(layers.BatchNormalization()(vectors))
    return tf.keras.Model(inputs, layers.Dense(1)(hidden))


class Custom(tf.keras.Model):
    """A graph in a subclass, as in Keras's guide to custom training."""

    def train_step(self, data):
        return super().train_step(data)


def custom():
    graph = masked_lstm()
    return Custom(inputs=graph.inputs, outputs=graph.outputs)


@pytest.mark.parametrize(
    "make",
    [masked_lstm, operations, normalized, custom],
    ids=lambda m: m.__name__,
)
def test_graphs(make, tmp_path):
    model = make()
    result = compress(model)
    assert type(result.model) is type(model)
    assert result.report.ratio >= 2
    kinds = [type(layer) for layer in result.model.layers]
    assert CodeLookupEmbedding in kinds and layers.Embedding not in kinds
    path = str(tmp_path / "model.keras")
    result.model.save(path)
    known = {"Custom": Custom}
    loaded = tf.keras.models.load_model(path, custom_objects=known)
    inputs = tf.constant(ids(8), tf.int32)
    np.testing.assert_allclose(loaded(inputs), result.model(inputs), atol=1e-6)


class Forgetful(tf.keras.Model):
    """Its configuration leaves an argument out."""

    def __init__(self, gain=1.0):
        super().__init__()
        self.gain = gain
        self.table = layers.Embedding(ROWS, 8)
        self.out = layers.Dense(1)

    def call(self, inputs):
        return self.gain * self.out(tf.reduce_mean(self.table(inputs), 1))

    def get_config(self):
        return {}


def test_a_copy_that_answers_differently_is_refused():
    with pytest.raises(ValueError, match="answers differently.*model_fn"):
        compress(Forgetful(gain=-7.0))
    result = compress(
        Forgetful(gain=-7.0), model_fn=lambda: Forgetful(gain=-7.0)
    )
    assert result.model.gain == -7.0


class Scaled(layers.Embedding):
    """An embedding with a call of its own."""

    def call(self, inputs):
        return super().call(inputs) * 30.0


def test_an_embedding_with_its_own_call_is_left_alone_and_counted():
    model = tf.keras.Sequential(
        [
            tf.keras.Input((WIDTH,), dtype="int32"),
            Scaled(ROWS, 8),
            layers.GlobalAveragePooling1D(),
            layers.Dense(1),
        ]
    )
    with pytest.raises(ValueError, match="at best"):
        compress(model)
    policy = mec_tf.CompressionPolicy(max_bytes=10**6)
    (table,) = compress(model, policy=policy).report.tables
    assert "Scaled has a `call` of its own" in table.how
    assert table.bytes_after == ROWS * 8 * 4


def test_an_adapted_vocabulary_is_carried():
    lookup = layers.StringLookup()
    words = np.char.add("w", ids().astype(str))
    lookup.adapt(words)

    class Words(tf.keras.Model):
        def __init__(self):
            super().__init__()
            self.lookup = layers.StringLookup()
            self.table = layers.Embedding(ROWS + 1, 8)
            self.out = layers.Dense(1)

        def call(self, inputs):
            return self.out(
                tf.reduce_mean(self.table(self.lookup(inputs)), axis=1)
            )

    model = Words()
    model.lookup.set_vocabulary(lookup.get_vocabulary())
    result = compress(model, words)
    assert result.model.lookup.get_vocabulary() == lookup.get_vocabulary()


def test_settings_of_a_table_are_kept():
    inputs = tf.keras.Input((WIDTH,), dtype="int32")
    table = TableEmbedding(ROWS, 8, oov=3, name="table")
    frozen = layers.Dense(4, name="frozen")
    hidden = frozen(layers.Flatten()(table(inputs)))
    model = tf.keras.Model(inputs, layers.Dense(1)(hidden))
    frozen.trainable = False
    result = compress(model)
    kept = result.model.get_layer("table")
    np.testing.assert_array_equal(
        kept(tf.constant([-1])), kept(tf.constant([3]))
    )
    for ours, theirs in zip(
        frozen.get_weights(),
        result.model.get_layer("frozen").get_weights(),
        strict=True,
    ):
        np.testing.assert_array_equal(ours, theirs)


def test_endless_data_needs_counts():
    model = normalized()
    model.compile("adam", "mse")
    data = tf.data.Dataset.from_tensor_slices((ids(), labels())).batch(64)
    model.fit(data, verbose=0)
    policy = mec_tf.CompressionPolicy(ratio=2)
    with pytest.raises(ValueError, match="`train` must end"):
        mec_tf.plan(model, data.repeat(), policy=policy)
    counts = {"t": np.bincount(ids().reshape(-1), minlength=ROWS)}
    result = mec_tf.compress(
        model,
        data.repeat(),
        policy=policy,
        counts=counts,
        epochs=1,
        steps_per_epoch=4,
        verbose=0,
    )
    assert result.report.ratio >= 2


def test_arrays_and_errors_that_are_minimised():
    model = masked_lstm()
    model.compile("adam", "mse", metrics=["mae"])
    model.fit(ids(), labels(), verbose=0)
    data = (ids(), labels())
    settings = {"*": mec_tf.TableSettings(1, 8)}
    result = mec_tf.compress(
        model,
        data,
        validation_data=data,
        policy=mec_tf.CompressionPolicy(ratio=2, tables=settings),
        monitor="val_mae",
        epochs=2,
        verbose=0,
    )
    _, before, after = result.report.score
    assert after <= before


def test_padding_is_never_shared():
    from mec_tf.compression import find_tables, make_plan

    model = masked_lstm()
    counts = {"table": np.append([0], np.arange(ROWS - 1, 0, -1))}
    policy = mec_tf.CompressionPolicy(ratio=65)
    with pytest.raises(ValueError, match="at best"):
        make_plan(find_tables(model), policy, counts)
    counts["table"][0] = 1
    model.get_layer("table").mask_zero = False
    assert make_plan(find_tables(model), policy, counts).ratio >= 65
