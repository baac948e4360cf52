"""Every method of compression, by the same call."""

import numpy as np
import pytest
import tensorflow as tf

import mec_tf
from mec_tf import compression
from mec_tf.compression import METHODS, CompressionPolicy

USERS, ITEMS, DIM = 400, 200, 8
# Without training, a table's answers must stay near the trained ones.
UNTRAINED = [name for name, method in METHODS.items() if not method.trains]


@pytest.fixture(scope="module")
def data():
    """Ids ordered by popularity from row 1 on, and labels."""
    rng = np.random.default_rng(0)
    ids = []
    for rows in (USERS, ITEMS):
        weights = 1.0 / np.arange(1, rows)
        drawn = rng.choice(rows - 1, 4000, p=weights / weights.sum())
        _, ranks, counts = np.unique(
            drawn, return_inverse=True, return_counts=True
        )
        order = np.argsort(np.argsort(-counts, kind="stable"))
        ids.append((1 + order[ranks]).astype(np.int32))
    users, items = ids
    labels = ((users * 7 + items * 3) % 5 < 2).astype(np.float32)
    return tf.data.Dataset.from_tensor_slices(
        ({"users": users, "items": items}, labels)
    ).batch(250)


@pytest.fixture(scope="module")
def model(data):
    tf.keras.utils.set_random_seed(0)
    inputs, vectors = {}, []
    for name, rows in (("users", USERS), ("items", ITEMS)):
        inputs[name] = tf.keras.Input((), dtype="int32", name=name)
        table = tf.keras.layers.Embedding(rows, DIM, name=f"{name}_table")
        vectors.append(table(inputs[name]))
    hidden = tf.keras.layers.Concatenate()(vectors)
    hidden = tf.keras.layers.Dense(16, activation="relu")(hidden)
    outputs = tf.keras.layers.Dense(1)(hidden)
    model = tf.keras.Model(inputs, outputs)
    model.compile(
        tf.keras.optimizers.Adam(0.01),
        tf.keras.losses.BinaryCrossentropy(from_logits=True),
    )
    model.fit(data, epochs=5, verbose=0)
    return model


def ratio_of(method):
    return None if METHODS[method].default_ratio is None else 3


@pytest.fixture(scope="module", params=list(METHODS))
def done(request, model, data):
    policy = CompressionPolicy(
        ratio=ratio_of(request.param), method=request.param
    )
    result = mec_tf.compress(
        model, data, validation_data=data, policy=policy, epochs=2, verbose=0
    )
    return request.param, result


def test_bytes_are_those_planned_and_exported(done, tmp_path):
    method, result = done
    sizes = compression.model_bytes(result.model)
    assert sizes == {t.path: t.bytes_after for t in result.plan.tables}
    assert result.report.ratio >= (ratio_of(method) or 1.9)
    exported = mec_tf.export.save(result.model, tmp_path / "model")
    assert exported.bytes_on_disk == sum(sizes.values())


def test_saved_model_and_codes_answer_alike(done, data, tmp_path):
    _, result = done
    expected = result.model.predict(data, verbose=0)
    result.model.save(tmp_path / "model.keras")
    loaded = tf.keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.predict(data, verbose=0), expected)
    result.codes.save(tmp_path / "codes.safetensors")
    codes = mec_tf.EmbeddingCodes.load(tmp_path / "codes.safetensors")
    ids = np.arange(USERS)
    layer = result.model.get_layer("users_table")
    np.testing.assert_array_equal(codes.vectors("users_table", ids), layer(ids))
    assert str(codes)


def test_codes_take_first_order_columns(done):
    """As a model with first-order weights adds them, and one without drops."""
    _, result = done
    table = result.codes.table("users_table")
    ids = np.arange(USERS)
    wider = table.with_columns(1)
    assert wider.dim == DIM + 1
    assert wider.additive_dim == table.additive_dim + 1
    vectors = wider.layer()(ids).numpy()
    np.testing.assert_array_equal(vectors[:, :DIM], table.layer()(ids))
    assert not vectors[:, DIM:].any()
    again = wider.with_columns(-1).layer()
    np.testing.assert_array_equal(again(ids), table.layer()(ids))


def test_rows_are_added_or_refused_at_once(done, data):
    """A table that cannot grow is refused before anything is trained."""
    _, result = done
    rows = {"users_table": 3}
    frozen = type(result.model.get_layer("users_table")).__name__
    grows = {"CodeLookupEmbedding", "TieredEmbedding", "Embedding"}
    if frozen in grows:
        grown = compression.fit_new_rows(result.model, rows, data, verbose=0)
        assert grown.get_layer("users_table").input_dim == USERS + 3
    else:
        with pytest.raises(ValueError, match=f"of class {frozen}"):
            compression.fit_new_rows(
                result.model, rows, data, callbacks=["never called"]
            )


def test_what_is_not_trained_stays_near(done, model, data):
    method, result = done
    before = model.evaluate(data, verbose=0)
    after = result.model.evaluate(data, verbose=0)
    if method in UNTRAINED:
        assert abs(after - before) < 0.03
        kept = [layer.get_weights() for layer in model.layers[-2:]]
        for layer, weights in zip(result.model.layers[-2:], kept, strict=True):
            for one, other in zip(layer.get_weights(), weights, strict=True):
                np.testing.assert_array_equal(one, other)
    elif METHODS[method].from_scratch:
        assert after < 0.68  # of two epochs; the model had five
    else:
        _, untrained, trained = result.report.score
        assert trained < untrained


@pytest.mark.parametrize(("bits", "ratio"), [(8, 2.5), (4, 3.9), (2, 5.2)])
def test_bits_follow_the_ratio(model, data, bits, ratio):
    policy = CompressionPolicy(ratio=ratio, method="lpt")
    plan = mec_tf.plan(model, data, policy=policy)
    assert plan.ratio >= ratio
    assert min(t.settings.bits for t in plan.tables) == bits


def test_integers_that_start_anew_have_the_step_of_the_trained_table(model):
    table = compression.find_tables(model)[0]
    cold = CompressionPolicy(method="lpt", start="cold")

    def step(settings, policy=cold):
        layer = METHODS["lpt"].trainable(table, settings, policy)
        return layer.initial_step

    for bits in (8, 4, 2):
        found = step(compression.IntegerSettings(bits))
        values = table.values().reshape(-1)
        low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1

        def error(size, values=values, low=low, high=high):
            whole = np.clip(np.floor(values / size + 0.5), low, high)
            return np.square(values - size * whole).sum()

        tried = np.abs(values).max() / high * np.linspace(0.2, 1, 17)
        assert error(found) <= 1.001 * min(map(error, tried))
    given = compression.IntegerSettings(initial_step=0.25)
    assert step(given) == 0.25
    assert step(compression.IntegerSettings(), CompressionPolicy()) is None


def test_explicit_settings_win_over_the_method(model, data):
    tables = {
        "users*": compression.IntegerSettings(4),
        "items*": compression.LowRankSettings(2),
    }
    result = mec_tf.compress(
        model,
        data,
        policy=CompressionPolicy(ratio=2, tables=tables),
        epochs=1,
        verbose=0,
    )
    kinds = [
        type(result.model.get_layer(f"{name}_table")).__name__
        for name in ("users", "items")
    ]
    assert kinds == ["IntegerEmbedding", "LowRankEmbedding"]


def test_rank_by_kept_variance(model, data):
    table = next(
        t for t in compression.find_tables(model) if t.path == "users_table"
    )
    counts = np.zeros(USERS, np.int64)
    for features, _ in data:
        np.add.at(counts, features["users"].numpy(), 1)
    statistics = compression.OutputStatistics.of_table(table.values(), counts)
    share = statistics.kept_variance(3)
    keeping = compression.LowRankSettings(kept_variance=share)
    policy = CompressionPolicy(method="low_rank", tables={"users*": keeping})
    plan = mec_tf.plan(model, data, policy=policy)
    assert plan["users_table"].settings == compression.LowRankSettings(3)
    # First-order columns take no part.
    values = np.random.default_rng(0).normal(size=(50, 5)) * [5, 3, 1, 1, 99]
    counts = np.ones(50, np.int64)
    keeping = compression.LowRankSettings(kept_variance=0.9)
    statistics = compression.OutputStatistics.of_table(values[:, :4], counts)
    assert keeping.completed(
        lambda: values, 1, counts
    ) == compression.LowRankSettings(statistics.rank_for(0.9))
    with pytest.raises(ValueError, match="the width of only_first, 0"):
        keeping.check("only_first", 50, 1, 1)
    with pytest.raises(ValueError, match="asks for more than these tables"):
        exact = compression.LowRankSettings(kept_variance=1.0)
        policy = CompressionPolicy(
            method="low_rank", ratio=7, tables={"*": exact}
        )
        mec_tf.plan(model, data, policy=policy)


def test_dense_layers_with_codes(model, data):
    result = mec_tf.compress(
        model,
        data,
        policy=CompressionPolicy(
            ratio=3,
            dense=compression.DenseSettings(ranks=4, keep_first=False),
        ),
        epochs=1,
        verbose=0,
    )
    hidden, last = result.report.dense
    assert (hidden.rank, last.rank) == (4, None)
    assert hidden.bytes_after < hidden.bytes_before
    assert hidden.path in str(result.report)
    assert result.report.ratio >= 3
    assert result.report.to_dict()["dense"][0]["rank"] == 4


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"method": "zip"}, "`method` must be one of mec"),
        ({"tables": {"*": 8}}, "`tables` must map patterns"),
        ({"method": "int8", "ratio": 50}, "ratio=50"),
        ({"method": "hash", "ratio": 1e6}, "`max_bytes` must be at least"),
        (
            {"tables": {"*": compression.LowRankSettings(9)}},
            "`rank` must not exceed the width of users_table, 8",
        ),
        (
            {"tables": {"*": compression.PrunedSettings(401)}},
            "`private_rows` must not exceed the 400 rows",
        ),
        (
            {
                "start": "cold",
                "ratio": 3,
                "dense": compression.DenseSettings(ranks=4),
            },
            "`dense` needs a training that goes on",
        ),
        (
            {"method": "hash", "dense": compression.DenseSettings(ranks=4)},
            "`dense` needs a training that goes on",
        ),
        (
            {"method": "int8", "start": "cold"},
            '`start` must be "warm" for a method that trains nothing',
        ),
        (
            {"tables": {"*": compression.HashedSettings(20)}},
            '`start` must be "cold" for tables that start anew',
        ),
    ],
)
def test_bad_policies(model, data, settings, words):
    with pytest.raises(ValueError, match=words):
        mec_tf.compress(
            model, data, policy=CompressionPolicy(**settings), verbose=0
        )


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: compression.IntegerSettings(3), "`bits`"),
        (lambda: compression.IntegerSettings(rounding="up"), "`rounding`"),
        (
            lambda: compression.IntegerSettings(row_optimizer="lamb"),
            "`row_optimizer` must be one of",
        ),
        (
            lambda: compression.IntegerSettings(row_learning_rate=-1.0),
            "`row_learning_rate` must be finite",
        ),
        (
            lambda: compression.IntegerSettings(initial_step=0.0),
            "`initial_step` must be finite",
        ),
        (lambda: compression.LowRankSettings(0), "rank=0"),
        (lambda: compression.LowRankSettings(), "Exactly one of"),
        (
            lambda: compression.LowRankSettings(4, kept_variance=0.9),
            "Exactly one of",
        ),
        (
            lambda: compression.LowRankSettings(kept_variance=1.5),
            "`kept_variance` must lie above 0",
        ),
        (lambda: compression.HashedSettings(0), "num_rows=0"),
        (lambda: compression.ComposedSettings(1.5), "num_remainders=1.5"),
        (lambda: compression.PrunedSettings(True), "private_rows=True"),
        (lambda: compression.DenseSettings(), "Exactly one of"),
        (
            lambda: compression.DenseSettings(ranks=2, ratio=2.0),
            "Exactly one of",
        ),
    ],
)
def test_bad_settings(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_pruning_leaves_other_orders_alone(model, data):
    rows = {"users": USERS, "items": ITEMS}
    turned = data.map(lambda x, y: ({n: rows[n] - 1 - x[n] for n in rows}, y))
    with pytest.raises(ValueError, match="ratio 1.0"):
        mec_tf.plan(
            model, turned, policy=CompressionPolicy(method="prune", ratio=3)
        )
