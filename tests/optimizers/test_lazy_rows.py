"""Both lazy optimizers against NumPy, over the options they share."""

import numpy as np
import pytest
import tensorflow as tf

from mec_tf.layers import TableEmbedding
from mec_tf.optimizers import LazyAdagrad, LazyAdam
from tests.harness import mirrored_strategy, raw_variable

KERAS_3 = hasattr(tf.keras, "ops")
ROWS, DIM, RATE = 12, 3, 0.1
BOTH = pytest.mark.parametrize("kind", [LazyAdam, LazyAdagrad])


def adam(state, step, gradient):
    m, v = state.setdefault("mv", (0.0, 0.0))
    m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
    state["mv"] = m, v
    rate = RATE * np.sqrt(1 - 0.999**step) / (1 - 0.9**step)
    return rate * m / (np.sqrt(v) + 1e-7)


def adagrad(state, step, gradient):
    state["sum"] = state.get("sum", 0.1) + gradient**2
    return RATE * gradient / np.sqrt(state["sum"] + 1e-7)


RULES = {LazyAdam: adam, LazyAdagrad: adagrad}


def reference(kind, table, dense, batches, clip=lambda t, d: (t, d), decay=0.0):
    """Every row is a variable of its own that moves when it is looked up."""
    table, dense = table.astype(float), dense.astype(float)
    states = [{} for _ in range(ROWS + 1)]
    for step, (rows, values, other) in enumerate(batches, 1):
        sums = np.zeros_like(table)
        np.add.at(sums, rows, values)
        sums, other = clip(sums, other.astype(float))
        for row in np.unique(rows):
            move = RULES[kind](states[row], step, sums[row])
            table[row] -= move + RATE * decay * table[row]
        move = RULES[kind](states[-1], step, other)
        dense -= move + RATE * decay * dense
    return table, dense


def clipped_by_norm(table, dense):
    return tuple(
        g * min(1, 0.5 / np.sqrt(np.square(g).sum())) for g in (table, dense)
    )


def clipped_by_value(table, dense):
    return np.clip(table, -0.3, 0.3), np.clip(dense, -0.3, 0.3)


def clipped_together(table, dense):
    norm = np.sqrt(np.square(table).sum() + np.square(dense).sum())
    return table * min(1, 0.5 / norm), dense * min(1, 0.5 / norm)


OPTIONS = {
    "plain": ({}, {}),
    "clipnorm": ({"clipnorm": 0.5}, {"clip": clipped_by_norm}),
    "clipvalue": ({"clipvalue": 0.3}, {"clip": clipped_by_value}),
    "global": ({"global_clipnorm": 0.5}, {"clip": clipped_together}),
    "decay": ({"weight_decay": 0.2}, {"decay": 0.2}),
}


def draw_batches(steps=5):
    """Repeated rows; the last third of the table is never touched."""
    rng = np.random.default_rng(0)
    return [
        (
            rng.integers(0, 2 * ROWS // 3, 10),
            rng.normal(size=(10, DIM)).astype("float32"),
            rng.normal(size=4).astype("float32"),
        )
        for _ in range(steps)
    ]


def train(optimizer, variables, batches, mode):
    def step(rows, values, other):
        sparse = tf.IndexedSlices(values, rows, (ROWS, DIM))
        grads = zip([sparse, other], variables, strict=True)
        optimizer.apply_gradients(list(grads))

    optimizer.build(variables)
    if mode != "eager":
        step = tf.function(step, jit_compile=mode == "xla")
    for batch in batches:
        step(*map(tf.constant, batch))


def make_variables():
    rng = np.random.default_rng(1)
    shapes = ((ROWS, DIM), (4,))
    return [tf.Variable(rng.normal(size=s).astype("float32")) for s in shapes]


@BOTH
@pytest.mark.parametrize(
    "mode, options",
    [("eager", "plain"), *((m, o) for m in ("graph", "xla") for o in OPTIONS)],
)
def test_equals_numpy(kind, mode, options):
    given, expected = OPTIONS[options]
    variables = make_variables()
    start = [v.numpy() for v in variables]
    batches = draw_batches()
    train(kind(RATE, **given), variables, batches, mode)
    table, dense = reference(kind, *start, batches, **expected)
    np.testing.assert_allclose(variables[0], table, atol=1e-6, rtol=1e-6)
    # Keras's own arithmetic.
    np.testing.assert_allclose(variables[1], dense, atol=1e-5)
    untouched = slice(2 * ROWS // 3, None)
    np.testing.assert_array_equal(variables[0][untouched], start[0][untouched])


@BOTH
def test_schedule_of_the_learning_rate(kind):
    results = []
    for rate in (
        RATE,
        tf.keras.optimizers.schedules.ExponentialDecay(RATE, 10, 1.0),
    ):
        variables = make_variables()
        train(kind(rate), variables, draw_batches(), "graph")
        results.append(variables[0].numpy())
    np.testing.assert_allclose(*results, rtol=1e-6)


@BOTH
@pytest.mark.parametrize("options", ["global", "decay"])
def test_touches_only_the_rows_of_a_batch(kind, options):
    """No op reads or writes all of a table, or all of its moments."""
    table = tf.Variable(tf.zeros([ROWS, DIM]))
    optimizer = kind(RATE, **OPTIONS[options][0])
    optimizer.build([table])
    gradient = tf.IndexedSlices(tf.ones([2, DIM]), tf.constant([1, 1]))
    step = tf.function(lambda: optimizer.apply_gradients([(gradient, table)]))
    graph = step.get_concrete_function().graph
    wide = [table, *map(raw_variable, optimizer.variables)]
    handles = {id(v.handle) for v in wide if v.shape == table.shape}
    assert len(handles) == {LazyAdam: 3, LazyAdagrad: 2}[kind]
    for outer, inner in graph.captures:
        if id(outer) in handles:
            kinds = {op.type for op in inner.consumers()} - {"NoOp"}
            assert kinds <= {
                "ResourceGather",
                "ResourceScatterSub",
                "ResourceScatterUpdate",
            }


def make_model(**kwargs):
    ids = tf.keras.Input((2,), dtype="int32")
    table = TableEmbedding(ROWS, DIM, **kwargs)
    pooled = tf.keras.layers.Flatten()(table(ids))
    return tf.keras.Model(ids, tf.keras.layers.Dense(1)(pooled))


def make_data(rows=16):
    rng = np.random.default_rng(2)
    return rng.integers(0, 8, (rows, 2)), rng.normal(size=(rows, 1))


def fit(model, optimizer, **kwargs):
    model.compile(optimizer, "mse", **kwargs)
    model.fit(*make_data(), batch_size=16, epochs=3, verbose=0, shuffle=False)
    return model.get_weights()


@BOTH
def test_mixed_precision(kind):
    exact = make_model()
    start = exact.get_weights()
    exact_weights = fit(exact, kind(0.01))
    policy = tf.keras.mixed_precision.Policy("mixed_float16")
    mixed = make_model(dtype=policy)
    mixed.set_weights(start)
    optimizer = tf.keras.mixed_precision.LossScaleOptimizer(kind(0.01))
    mixed_weights = fit(mixed, optimizer)
    assert all(w.dtype == np.float32 for w in mixed_weights)
    np.testing.assert_array_equal(mixed_weights[0][8:], start[0][8:])
    for one, other in zip(mixed_weights, exact_weights, strict=True):
        np.testing.assert_allclose(one, other, atol=5e-3)


@BOTH
def test_mirrored_strategy_takes_the_same_steps(kind):
    single = make_model()
    start = single.get_weights()
    expected = fit(single, kind(0.01))
    strategy = mirrored_strategy()
    with strategy.scope():
        mirrored = make_model()
        mirrored.set_weights(start)
        fit(mirrored, kind(0.01))
    for weight, goal in zip(mirrored.weights, expected, strict=True):
        replicas = strategy.experimental_local_results(raw_variable(weight))
        for replica in replicas:
            np.testing.assert_allclose(replica, goal, atol=1e-6)


@BOTH
def test_saved_with_its_state(kind, tmp_path):
    model = make_model()
    fit(model, kind(0.01))
    path = str(tmp_path / "model.keras")
    model.save(path)
    loaded = tf.keras.models.load_model(path)
    assert type(loaded.optimizer) is kind
    for each in (model, loaded):
        each.fit(*make_data(), epochs=1, verbose=0, shuffle=False)
    for one, other in zip(model.weights, loaded.weights, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)


REFUSED = [{"use_ema": True}]
if KERAS_3:
    REFUSED += [{"gradient_accumulation_steps": 2}, {"loss_scale_factor": 2.0}]


@BOTH
@pytest.mark.parametrize("options", REFUSED, ids=lambda o: next(iter(o)))
def test_refuses_what_cannot_leave_rows_alone(kind, options):
    (name,) = options
    with pytest.raises(ValueError, match=f"`{name}` must be left at"):
        kind(**options)


@BOTH
def test_config_round_trip(kind):
    optimizer = kind(0.02, weight_decay=0.1, clipnorm=1.0)
    again = kind.from_config(optimizer.get_config())
    assert again.get_config() == optimizer.get_config()
