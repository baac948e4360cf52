import numpy as np
import pytest
import tensorflow as tf

from mec_tf.layers import LowPrecisionEmbedding, TableEmbedding
from mec_tf.quantizers import integers
from mec_tf.training import use_alpt
from tests.harness import raw_variable

RNG = np.random.default_rng(0)
IDS = np.array([[1, 2], [2, 2], [3, 1], [5, 7]], "int32")
TARGETS = RNG.normal(size=(4, 1)).astype("float32")
WEIGHTS = np.array([1.0, 2.0, 0.5, 1.0], "float32")
KERNEL = RNG.normal(size=(6, 1)).astype("float32")


class Subclassed(tf.keras.Model):
    def __init__(self, layer):
        super().__init__()
        self.layer = layer
        self.head = tf.keras.layers.Dense(1, use_bias=False)

    def call(self, ids):
        vectors = self.layer(ids)
        return self.head(tf.reshape(vectors, [-1, 6]))


def make_model(kind, layer, optimizer=None, **compiled):
    head = [
        tf.keras.layers.Flatten(),
        tf.keras.layers.Dense(1, use_bias=False),
    ]
    if kind == "sequential":
        model = tf.keras.Sequential([layer, *head])
    elif kind == "functional":
        ids = tf.keras.Input((2,), dtype="int32")
        model = tf.keras.Model(ids, head[1](head[0](layer(ids))))
    else:
        model = Subclassed(layer)
    model(IDS)
    raw_variable(model.trainable_weights[-1]).assign(KERNEL)
    optimizer = optimizer or tf.keras.optimizers.SGD(0.1)
    model.compile(optimizer, "mse", weighted_metrics=["mae"], **compiled)
    return model


def make_layer(**config):
    config = {
        "bits": 4,
        "rounding": "deterministic",
        "row_optimizer": "sgd",
        "row_learning_rate": 0.05,
        "step_optimizer": "sgd",
        "seed": 1,
        **config,
    }
    return LowPrecisionEmbedding(8, 3, **config)


def integers_of(layer):
    codes = raw_variable(layer.codes).numpy()
    return integers.unpack_table(codes, layer.output_dim, layer.bits)


def loss_and_gradients(vectors, kernel):
    flat = vectors.reshape(4, 6)
    error = flat @ kernel - TARGETS
    outer = 2 * WEIGHTS[:, None] * error / 4
    loss = np.mean(WEIGHTS[:, None] * error**2)
    return loss, (outer @ kernel.T).reshape(4, 2, 3), flat.T @ outer


def numpy_step(whole, step_size, rate, learning_rate, one_step):
    """Algorithm 1 of the paper, in float64; steps relative to their size."""
    w = whole * step_size[:, None]
    loss, by_vectors, by_kernel = loss_and_gradients(w[IDS], KERNEL)
    kernel = KERNEL - 0.1 * by_kernel
    by_rows = np.zeros_like(w)
    np.add.at(by_rows, IDS, by_vectors)
    w = w - rate * by_rows
    ratio = w / step_size[:, None]
    rounded = np.clip(np.floor(ratio + 0.5), -8, 7)
    _, by_vectors, _ = loss_and_gradients(
        (rounded * step_size[:, None])[IDS], kernel
    )
    by_rows = np.zeros_like(w)
    np.add.at(by_rows, IDS, by_vectors)
    slope = np.where(ratio <= -8, -8, np.where(ratio >= 7, 7, rounded - ratio))
    by_steps = (by_rows * slope).sum(axis=1) / np.sqrt(4 * 3 * 7)
    if one_step:
        by_steps[:] = by_steps.sum()
    touched = np.isin(np.arange(8), IDS)
    new = step_size * (1 - learning_rate * by_steps)
    if not one_step:
        new = np.where(touched, new, step_size)
    moved = np.clip(np.floor(w / new[:, None] + 0.5), -8, 7)
    return loss, kernel, new, np.where(touched[:, None], moved, whole)


@pytest.mark.parametrize(
    "kind, step_sizes, jit_compile",
    [
        ("functional", "row", True),
        ("sequential", "table", True),
        ("functional", "table", False),
        ("subclassed", "row", False),
    ],
)
def test_step_is_that_of_numpy(kind, step_sizes, jit_compile):
    layer = make_layer(step_sizes=step_sizes)
    model = make_model(kind, layer, jit_compile=jit_compile)
    before = integers_of(layer).astype("float64")
    loss, kernel, steps, whole = numpy_step(
        before, np.full(8, 0.01), 0.05, 10.0, step_sizes == "table"
    )
    use_alpt(model, step_learning_rate=1.0)
    use_alpt(model, step_learning_rate=10.0)  # The last call counts.
    history = model.fit(
        IDS, TARGETS, sample_weight=WEIGHTS, batch_size=4, verbose=0
    ).history
    np.testing.assert_array_equal(integers_of(layer), whole)
    found = raw_variable(layer.steps).numpy()
    np.testing.assert_allclose(found, steps[: len(found)], rtol=1e-4)
    assert not np.isclose(found, 0.01, rtol=1e-4).all()
    found = raw_variable(model.trainable_weights[-1]).numpy()
    np.testing.assert_allclose(found, kernel, rtol=1e-5)
    assert history["loss"][0] == pytest.approx(loss, rel=1e-5)


@pytest.mark.parametrize("alpt", [False, True])
def test_training_goes_on_bit_for_bit(tmp_path, alpt):
    def train(model, first, last):
        if alpt:
            use_alpt(model, 1e-3)
        model.fit(
            IDS,
            TARGETS,
            batch_size=2,
            shuffle=False,
            initial_epoch=first,
            epochs=last,
            verbose=0,
        )

    layer = make_layer(
        rounding="stochastic",
        learned_steps=alpt,
        row_optimizer="adam",
        step_optimizer="adam",
    )
    model = make_model("functional", layer, tf.keras.optimizers.Adam(0.1))
    train(model, 0, 2)
    model.save(tmp_path / "model.keras")
    train(model, 2, 4)
    loaded = tf.keras.models.load_model(tmp_path / "model.keras")
    assert (loaded.get_weights()[1] != model.get_weights()[1]).any()
    train(loaded, 2, 4)
    for one, other in zip(
        loaded.get_weights(), model.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
def test_loss_scale_and_losses_of_layers(policy):
    """Both passes see a loss of the model's own, and no loss scale."""

    class Regularized(Subclassed):
        def call(self, ids, training=None):
            vectors = self.layer(ids)
            if training:
                squares = tf.square(tf.cast(vectors, tf.float32))
                self.add_loss(2.0 * tf.reduce_mean(squares))
            return self.head(tf.reshape(vectors, [-1, 6]))

    results = []
    for scaled in (False, True):
        layer = make_layer(seed=1, dtype=policy if scaled else "float32")
        model = Regularized(layer)
        model(IDS)
        state = np.random.default_rng(2).integers(90, 160, (8, 2))
        raw_variable(layer.codes).assign(state.astype("uint8"))
        raw_variable(model.head.kernel).assign(KERNEL)
        optimizer = tf.keras.optimizers.SGD(0.1)
        if scaled:
            optimizer = tf.keras.mixed_precision.LossScaleOptimizer(optimizer)
        model.compile(optimizer, "mse")
        use_alpt(model, 10.0)
        model.fit(IDS, TARGETS, batch_size=4, verbose=0)
        results.append((integers_of(layer), raw_variable(layer.steps).numpy()))
    gap = np.abs(results[0][0].astype(int) - results[1][0])
    assert gap.max() <= (policy == "mixed_float16")
    rtol = 2e-3 if policy == "mixed_float16" else 1e-5
    np.testing.assert_allclose(results[0][1], results[1][1], rtol=rtol)


def test_lookups_of_one_step_are_summed():
    layer = make_layer(row_learning_rate=0.053)
    ids = [tf.keras.Input((2,), dtype="int32", name=n) for n in "ab"]
    total = tf.keras.layers.Add()([layer(i) for i in ids])
    model = tf.keras.Model(
        ids, tf.keras.layers.Dense(1, kernel_initializer="ones")(total)
    )
    model.compile(tf.keras.optimizers.SGD(0.0), loss=lambda y, p: p)
    before = integers_of(layer).astype("float64")
    use_alpt(model, 0.0)
    model.fit([IDS, IDS], TARGETS, batch_size=4, verbose=0)
    counts = np.bincount(IDS.reshape(-1), minlength=8) * 2
    expected = before * 0.01 - 0.053 * counts[:, None] / 8
    expected = np.clip(np.floor(expected / 0.01 + 0.5), -8, 7)
    np.testing.assert_array_equal(
        integers_of(layer), np.where(counts[:, None] > 0, expected, before)
    )


def test_learns_with_two_bits():
    ids = RNG.integers(0, 8, (512, 2)).astype("int32")
    worth = RNG.normal(size=8)
    targets = worth[ids].sum(axis=1, keepdims=True)
    layer = LowPrecisionEmbedding(
        8, 3, bits=2, initial_step=0.1, row_learning_rate=0.05, seed=0
    )
    model = make_model("functional", layer, tf.keras.optimizers.Adam(0.01))
    use_alpt(model, 1e-2)
    losses = model.fit(ids, targets, epochs=10, verbose=0).history["loss"]
    assert losses[-1] < 0.5 * losses[0]
    steps = raw_variable(layer.steps).numpy()
    assert len(np.unique(steps)) == 8


def test_refusals():
    with pytest.raises(ValueError, match="`step_learning_rate` .*=-1"):
        use_alpt(make_model("functional", make_layer()), -1)
    model = make_model("functional", TableEmbedding(8, 3))
    with pytest.raises(ValueError, match="must hold a `LowPrecisionEmbedding`"):
        use_alpt(model).fit(IDS, TARGETS, verbose=0)


def test_plain_fit_warns_that_steps_are_not_learned():
    layer = make_layer()
    model = make_model("functional", layer)
    with pytest.warns(UserWarning, match="use_alpt"):
        model.fit(IDS, TARGETS, verbose=0)
    steps = raw_variable(layer.steps).numpy()
    np.testing.assert_array_equal(steps, np.full(8, np.float32(0.01)))
