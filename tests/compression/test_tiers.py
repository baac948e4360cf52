"""Popularity tiers: settings, plan, compression and what comes after it."""

import types

import numpy as np
import pytest
import tensorflow as tf

import mec_tf
from mec_tf import compression
from mec_tf.cli import inspect
from mec_tf.compression import StoredTable
from mec_tf.compression.distortion import exact
from mec_tf.compression.methods import candidates
from mec_tf.layers import (
    CodeLookupEmbedding,
    ProductQuantizedEmbedding,
    ResidualQuantizedEmbedding,
    TableEmbedding,
    TieredEmbedding,
)

Settings = mec_tf.TableSettings
ROWS = {"user": 300, "item": 60}
USER, ITEM = (f"field_embeddings/tables/{name}" for name in ROWS)
USER_TIERS = Settings(
    1,
    4,
    private_rows=200,
    heads=((5, Settings(0)), (40, Settings(2, 16, quantizer="residual"))),
)
POLICY = mec_tf.CompressionPolicy(
    ratio=3, tables={USER: USER_TIERS, ITEM: Settings(2, 16)}
)
# An exact head; 2 codes of 4 bits; 1 of 2. Codebooks are float16.
USER_BYTES = (5 * 9 * 4) + (40 + 2 * 16 * 9 * 2) + (-(-155 // 4) + 4 * 9 * 2)


def examples(size=1024, seed=0):
    rng = np.random.default_rng(seed)
    ids = {
        name: (1 + np.minimum(rng.zipf(1.3, size), rows - 1) - 1).astype(
            "int32"
        )
        for name, rows in ROWS.items()
    }
    labels = ((ids["user"] + ids["item"]) % 2).astype("float32")
    return ids, labels[:, None]


def dataset():
    return tf.data.Dataset.from_tensor_slices(examples()).batch(128)


def deep_fm():
    model = mec_tf.models.DeepFM(ROWS, embedding_dim=8, hidden_units=(4,))
    loss = tf.keras.losses.BinaryCrossentropy(from_logits=True)
    model.compile(tf.keras.optimizers.Adam(0.01), loss)
    return model


@pytest.fixture(scope="module")
def result():
    model = deep_fm()
    model.fit(dataset(), epochs=1, verbose=0)
    return mec_tf.compress(
        model,
        dataset(),
        validation_data=dataset(),
        policy=POLICY,
        epochs=1,
        verbose=0,
    )


def test_bytes_are_those_of_the_tiers(result):
    layer = result.model.field_embeddings.tables["user"]
    assert [type(tier) for tier in layer.tiers] == [
        TableEmbedding,
        CodeLookupEmbedding,
        CodeLookupEmbedding,
    ]
    assert USER_TIERS.stored_bytes(300, 9, 1) == USER_BYTES
    assert result.plan[USER].bytes_after == USER_BYTES
    assert list(compression.model_bytes(result.model)) == [USER, ITEM]
    assert compression.model_bytes(result.model)[USER] == USER_BYTES
    assert compression.full_bytes(result.model) == 360 * 9 * 4
    report = {table.path: table for table in result.report.tables}
    assert report[USER].bytes_after == USER_BYTES
    expected = [
        compression.counting.code_perplexity(
            tier.row_codes(), tier.codebook_size
        )
        for tier in layer.tiers[1:]
    ]
    assert report[USER].code_perplexity == pytest.approx(np.mean(expected))
    assert report[USER].how == (
        "5 rows: exact; 40 rows: 2 x 16 residual codes, float16; "
        "155 rows: 1 x 4 codes, float16, 100 rare rows share"
    )


def test_the_model_loads_again(result, tmp_path):
    ids, _ = examples(seed=1)
    result.model.save(tmp_path / "model.keras")
    loaded = tf.keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(
        loaded(ids, training=False), result.model(ids, training=False)
    )
    assert compression.model_bytes(loaded)[USER] == USER_BYTES


def test_codes_of_tiers_come_back(result, tmp_path):
    stored = result.codes.table("user")
    assert stored.bytes == USER_BYTES
    assert {"tiers/0/embeddings", "tiers/2/codes"} <= set(stored.weights)
    words = stored.describe().split("; ")
    assert words[0] == "5 rows: exact"
    assert words[1].startswith("40 rows: 2 x 16 codes, ")
    assert words[1].endswith("summed, bit-packed")
    assert words[2].startswith("155 rows: 1 x 4 codes, ")
    result.codes.save(tmp_path / "codes.safetensors")
    loaded = mec_tf.EmbeddingCodes.load(tmp_path / "codes.safetensors")
    ids = np.arange(-1, 301)
    vectors = result.model.field_embeddings.tables["user"](ids).numpy()
    np.testing.assert_array_equal(loaded.vectors("user", ids), vectors)
    # In a model without first-order columns, and codebooks that learn.
    target = mec_tf.models.DCNv2(ROWS, embedding_dim=8, hidden_units=(4,))
    target = mec_tf.apply_codes(
        target, loaded, dataset(), trainable_codebooks=True
    )
    layer = target.field_embeddings.tables["user"]
    np.testing.assert_array_equal(layer(ids), vectors[:, :8])
    names = {
        v.name.split("/")[-1].split(":")[0] for v in layer.trainable_weights
    }
    assert names == {"codebooks", "embeddings"}
    assert len(layer.trainable_weights) == 3


def test_codes_that_no_codebook_has_are_refused():
    tiers = [CodeLookupEmbedding.from_codes(
        np.full((rows, 1), 2), np.zeros((1, 3, 4), np.float32)
    ) for rows in (2, 3)]  # fmt: skip
    layer = TieredEmbedding(5, 4, tiers)
    layer.build()
    stored = StoredTable.from_layer(layer)
    stored.weights["tiers/1/codes"][:] = 3
    with pytest.raises(ValueError, match="codes must be below 3"):
        stored.check()


def test_training_tiers_are_frozen_for_the_codes():
    tiers = [ProductQuantizedEmbedding(rows, 4, 2, 4) for rows in (8, 12)]
    layer = TieredEmbedding(20, 4, tiers)
    ids = np.arange(20)
    expected = layer(ids)
    stored = StoredTable.from_layer(layer)
    np.testing.assert_array_equal(stored.layer()(ids), expected)


def test_export_and_inspect(result, tmp_path, capsys):
    mec_tf.export.save(result.model, tmp_path / "1")
    result.model.save(tmp_path / "model.keras")
    result.codes.save(tmp_path / "codes.safetensors")
    contents = mec_tf.export.inspect_saved_model(tmp_path / "1")
    tables = {table.path: table for table in contents.tables}
    assert tables[USER].bytes == USER_BYTES
    assert len(tables[USER].variables) == len(set(tables[USER].variables)) == 5
    for path in ("1", "model.keras", "codes.safetensors"):
        inspect.run(types.SimpleNamespace(path=tmp_path / path))
        line = next(
            line for line in capsys.readouterr().out.split("\n") if USER in line
        )
        assert f"{USER_BYTES:,}" in line
        assert "40 rows: 2 x 16 codes" in line
        assert "155 rows: 1 x 4 codes" in line


def test_functional_models_have_tiers_too():
    user = tf.keras.Input((), dtype="int32", name="user")
    vectors = tf.keras.layers.Embedding(300, 8, name="users")(user)
    model = tf.keras.Model({"user": user}, tf.keras.layers.Dense(1)(vectors))
    model.compile("adam", "mse")
    ids, labels = examples()
    policy = mec_tf.CompressionPolicy(
        ratio=3, tables={"users": Settings(1, 8, heads=((20, Settings(4, 8)),))}
    )
    data = ({"user": ids["user"]}, labels)
    made = mec_tf.compress(model, data, policy=policy, epochs=1, verbose=0)
    assert list(compression.model_bytes(made.model)) == ["users"]
    layer = made.model.get_layer("users")
    assert isinstance(layer, TieredEmbedding)
    assert len(made.history["loss"]) == 1


@pytest.mark.parametrize(
    ("head", "tail"),
    [
        ((0, Settings(1)), {}),
        ((3, 7), {}),
        ((3, Settings(1, private_rows=2)), {}),
        ((3, Settings(1, heads=((1, Settings(1)),))), {}),
        ((3, Settings(1)), {"num_subspaces": 0}),
    ],
)
def test_bad_heads(head, tail):
    with pytest.raises(ValueError, match="`heads` must give .*Received"):
        Settings(**{"num_subspaces": 1, "heads": (head,), **tail})


def test_heads_must_fit_their_table():
    model = deep_fm()
    model(examples()[0])

    def plan(settings):
        policy = mec_tf.CompressionPolicy(ratio=2, tables={ITEM: settings})
        return mec_tf.plan(model, dataset(), policy=policy)

    with pytest.raises(ValueError, match="`heads` must leave rows of the 60"):
        plan(Settings(1, 4, heads=((60, Settings(2, 4)),)))
    with pytest.raises(ValueError, match="must divide.*num_subspaces=3"):
        plan(Settings(1, 4, heads=((10, Settings(3, 4)),)))


class Ranked:
    """A table by popularity: half of the lookups are of its first rows."""

    def __init__(self, rows=2000, popular=100, seed=0):
        rng = np.random.default_rng(seed)
        layer = TableEmbedding(rows, 8)
        layer.build()
        layer.set_weights([rng.normal(size=(rows, 8)).astype(np.float32)])
        self.table = compression.Table(("a",), layer)
        self.counts = np.ones(rows, np.int64)
        self.counts[:popular] = (rows - popular) // (popular - 1)
        self.counts[0] = 0
        self.errors = candidates._Errors(
            exact(self.table.values(), self.counts, 8), seed
        )

    def measured(self, counts):
        return candidates.measured_codes(self.table, counts, 0)


@pytest.fixture
def few_choices(monkeypatch):
    choices = [("product", m, k) for m in (1, 2, 4) for k in (4, 16, 64)]
    choices += [("residual", 2, 64), ("product", 1, 256), ("product", 2, 256)]
    monkeypatch.setattr(candidates, "CHOICES", tuple(choices))


@pytest.mark.usefixtures("few_choices")
def test_popular_rows_get_more_bits_where_that_pays():
    ranked = Ranked()
    found = ranked.measured(ranked.counts)
    sizes = [settings.stored_bytes(2000, 8, 0) for settings, _ in found]
    errors = [error for _, error in found]
    assert sizes == sorted(sizes) and errors == sorted(errors, reverse=True)
    shares = np.cumsum(ranked.counts) / ranked.counts.sum()
    heads = {int((shares < share).sum()) + 1 for share in (0.5, 0.8)}
    assert {s.heads[0][0] for s, _ in found if s.heads} == heads
    # At the size of plain codes, tiers are off by less.
    plain = Settings(1, 64)
    budget = plain.stored_bytes(2000, 8, 0)
    best, chosen = min(
        (error, settings)
        for (settings, error), size in zip(found, sizes, strict=True)
        if size <= budget
    )
    assert chosen.heads
    assert best < 0.9 * ranked.errors.quantized(plain, 0, 2000, None)


@pytest.mark.usefixtures("few_choices")
@pytest.mark.parametrize("spread, shared", [(0.01, True), (1.0, False)])
def test_rare_rows_share_where_that_pays(spread, shared):
    """At a ratio that is met either way; rows that differ keep codes."""
    ranked = Ranked(popular=400)
    values = ranked.table.values()
    values[400:] = 0.3 + spread * values[400:]
    ranked.table.layer.set_weights([values])
    plan = compression.make_plan(
        [ranked.table],
        mec_tf.CompressionPolicy(ratio=25),
        {"a": ranked.counts},
    )
    assert plan.ratio >= 25
    (planned,) = plan.tables
    assert planned.settings.private_rows == (400 if shared else None)


@pytest.mark.usefixtures("few_choices")
def test_other_orders_have_no_tiers():
    ranked = Ranked()
    found = ranked.measured(ranked.counts[::-1])
    assert len(found) > 1
    assert not any(settings.heads for settings, _ in found)
    # A table that is never looked up loses nothing.
    ((_, error),) = ranked.measured(np.zeros(2000, np.int64))
    assert error == 0


@pytest.mark.usefixtures("few_choices")
def test_measured_errors_are_those_of_the_tiers():
    """On a table that is measured whole, near what training starts with."""
    ranked = Ranked()
    found = list(candidates._tiered(ranked.table, ranked.errors, 100, 1500))
    assert len(found) > 3
    values = ranked.table.values()
    for settings, error in found[:: len(found) // 3]:
        assert settings.private_rows == 1500
        (head, first), (rest, last) = settings.tiers(2000)
        assert (head, rest) == (100, 1400)
        tiers = [tier_layer(head, first), tier_layer(rest, last)]
        layer = TieredEmbedding(2000, 8, tiers, private_rows=1500)
        layer.warm_start(values, ranked.counts)
        gaps = np.square(layer(np.arange(2000)).numpy() - values).sum(axis=1)
        assert error == pytest.approx(gaps @ ranked.counts, rel=0.1)


def tier_layer(rows, settings):
    kind = ProductQuantizedEmbedding
    if settings.quantizer == "residual":
        kind = ResidualQuantizedEmbedding
    return kind(rows, 8, settings.num_subspaces, settings.codebook_size)


@pytest.mark.usefixtures("few_choices")
def test_a_plan_has_tiers_under_its_budget():
    ranked = Ranked()
    policy = mec_tf.CompressionPolicy(ratio=16)
    plan = compression.make_plan([ranked.table], policy, {"a": ranked.counts})
    assert plan.ratio >= 16
    (planned,) = plan.tables
    assert planned.settings.heads
    assert f"{planned.settings.heads[0][0]:,} rows: " in str(plan)
