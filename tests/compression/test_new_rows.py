"""New ids after freezing."""

import numpy as np
import pytest
import tensorflow as tf

import mec_tf
from mec_tf.compression import (
    CompressionPolicy,
    TableSettings,
    fit_new_rows,
    grow,
)
from mec_tf.compression.more_rows import finest_settings
from mec_tf.compression.tables import table_layers
from mec_tf.layers import (
    MLP,
    CodeLookupEmbedding,
    FieldEmbeddings,
    FusedFieldEmbeddings,
    ResidualQuantizedEmbedding,
    TableEmbedding,
    TieredEmbedding,
)
from mec_tf.models import DeepFM
from mec_tf.quantizers import encode_additive
from tests.harness import raw_variable

RNG = np.random.default_rng(0)
TABLE = RNG.normal(size=(120, 9)).astype("float32")
IDS = np.arange(120)

KINDS = {
    "product": {"num_subspaces": 3, "codebook_size": 16},
    "float16": {
        "num_subspaces": 3, "codebook_size": 16, "codebook_dtype": "float16",
    },
    "wide": {"num_subspaces": 3, "codebook_size": 100},
    "low_rank": {
        "num_subspaces": 2, "codebook_size": 16, "quantizer": "rotated",
        "rank": 4,
    },
    "rotated": {
        "num_subspaces": 3, "codebook_size": 16, "quantizer": "rotated",
    },
    "residual": {
        "num_subspaces": 2, "codebook_size": 16, "quantizer": "residual",
    },
    "additive": {"num_subspaces": 4, "codebook_size": 16, "additive_dim": 1},
    "bits": {"num_subspaces": 3, "codebook_size": 8, "bit_packed": True},
    "shared_bytes": {"num_subspaces": 1, "codebook_size": 4,
                     "bit_packed": True},
}  # fmt: skip


def value(weight):
    return raw_variable(weight).numpy()


@pytest.mark.parametrize("kind", KINDS)
def test_old_rows_stay_and_new_rows_are_near(kind):
    layer = CodeLookupEmbedding.from_table(
        TABLE, **KINDS[kind], mask_zero=True, oov=3, name="items"
    )
    old = layer(IDS).numpy()
    # Perturbed present answers: their nearest codes are known.
    fresh = old[5:25] + 1e-3 * RNG.normal(size=(20, 9)).astype("float32")
    grown = mec_tf.encode_new_rows(layer, fresh)
    assert grown.input_dim == 140 and layer.input_dim == 120
    assert (grown.name, grown.oov, grown.mask_zero) == ("items", 3, True)
    np.testing.assert_array_equal(grown.row_codes()[:120], layer.row_codes())
    np.testing.assert_array_equal(
        value(grown.codebooks), value(layer.codebooks)
    )
    np.testing.assert_array_equal(grown(IDS).numpy(), old)
    gaps = np.square(grown(np.arange(120, 140)).numpy() - fresh).sum(axis=1)
    limit = 1e-3 if kind not in ("residual", "additive") else 0.7
    assert gaps.mean() < limit
    assert np.isfinite(grown(np.array([-1, 139, 140])).numpy()).all()


def test_additive_columns_lower_the_error_of_all_columns():
    books = RNG.normal(size=(3, 16, 4)).astype("float32")  # d = 3, A = 1
    vectors = RNG.normal(size=(50, 10)).astype("float32")

    def error(codes):
        entries = books[np.arange(3), codes]
        joined = entries[..., :3].reshape(50, 9)
        total = np.append(joined, entries[..., 3:].sum(axis=1), axis=1)
        return np.square(total - vectors).sum(axis=1)

    plain = encode_additive(vectors[:, :9], books[..., :3])
    first = encode_additive(vectors, books, 1, sweeps=1)
    more = encode_additive(vectors, books, 1)
    assert error(first).mean() < error(plain).mean()
    assert (error(more) <= error(first) + 1e-5).all()
    assert error(more).sum() < error(first).sum()


def test_rows_that_share_row_0_are_stored_then():
    layer = CodeLookupEmbedding.from_table(
        TABLE[:40], 3, 16, input_dim=100, private_rows=40
    )
    grown = mec_tf.encode_new_rows(layer, TABLE[50:53])
    assert (grown.input_dim, grown.stored_rows) == (103, 103)
    ids = np.arange(100)
    np.testing.assert_array_equal(grown(ids).numpy(), layer(ids).numpy())


@pytest.mark.parametrize(
    "settings",
    [
        TableSettings(0),
        TableSettings(3, 16),
        TableSettings(2, 16, quantizer="residual"),
    ],
)
@pytest.mark.parametrize("shared", [0, 60])
def test_new_rows_as_a_tier_of_their_own(settings, shared):
    layer = CodeLookupEmbedding.from_table(
        TABLE[:40], 1, 4, input_dim=40 + shared, private_rows=40,
        additive_dim=0, mask_zero=True, name="items",
    )  # fmt: skip
    new = 3.0 + TABLE[60:100]
    counts = np.r_[np.full(5, 10_000), np.ones(35)]
    grown = mec_tf.encode_new_rows(layer, new, settings, counts=counts)
    assert isinstance(grown, TieredEmbedding)
    assert (grown.name, grown.mask_zero) == ("items", True)
    ids = np.arange(40 + shared)
    np.testing.assert_array_equal(grown(ids).numpy(), layer(ids).numpy())
    gaps = grown(np.arange(40 + shared, 80 + shared)).numpy() - new
    squares = np.square(gaps).sum(axis=1)
    if settings.exact:
        assert not gaps.any()
    else:
        # In the codebooks that are there, made of other rows, it would be 80.
        assert squares.mean() < 6
        assert squares[:5].mean() < 0.2 * squares.mean()
    again = mec_tf.encode_new_rows(grown, new[:30], settings)
    ids = np.arange(80 + shared)
    np.testing.assert_array_equal(again(ids).numpy(), grown(ids).numpy())
    assert mec_tf.compression.layer_bytes(again) > (
        mec_tf.compression.layer_bytes(grown)
    )


@pytest.mark.parametrize(
    "settings, message",
    [
        (TableSettings(2, 4), "`num_subspaces` must divide"),
        (TableSettings(3, 4, private_rows=5), "without `heads`"),
        (TableSettings(3, 4, heads=((5, TableSettings(3)),)), "`private_rows`"),
    ],
)
def test_settings_that_do_not_fit_are_refused_before_the_fit(
    compressed, settings, message
):
    layer = CodeLookupEmbedding.from_table(TABLE, 3, 16)
    with pytest.raises(ValueError, match=message):
        mec_tf.encode_new_rows(layer, TABLE[:20], settings)

    class Never(tf.keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            raise AssertionError("the fit began")

    if settings.heads or settings.private_rows:
        with pytest.raises(ValueError, match=message):
            fit_new_rows(
                compressed,
                {"item": NEW},
                batches(np.arange(ITEMS, ITEMS + NEW)),
                settings={"item": settings},
                callbacks=[Never()],
            )


def test_many_new_rows_are_coded_as_finely_as_the_finest_tier():
    popular = CodeLookupEmbedding.from_table(
        TABLE[:60], 2, 16, quantizer="residual", codebook_dtype="float16"
    )
    rare = CodeLookupEmbedding.from_table(TABLE[60:], 3, 4)
    layer = TieredEmbedding(120, 9, [popular, rare])
    found = finest_settings(layer, 500)
    assert found == TableSettings(2, 16, quantizer="residual")
    # Codebooks would take more bytes.
    assert finest_settings(layer, 20) == TableSettings(0)
    assert finest_settings(rare, 500) == TableSettings(3, 4, "float32")
    assert finest_settings(TableEmbedding(9, 9), 500) is None


def test_exact_and_tiered_tables():
    exact = TableEmbedding(40, 9)
    exact.build()
    grown = mec_tf.encode_new_rows(exact, TABLE[:5])
    np.testing.assert_array_equal(grown(np.arange(40, 45)), TABLE[:5])
    np.testing.assert_array_equal(grown(np.arange(40)), exact(np.arange(40)))

    rare = CodeLookupEmbedding.from_table(TABLE[:60], 1, 8, bit_packed=True)
    tiered = TieredEmbedding(100, 9, [exact, rare])
    tiered.build()
    grown = mec_tf.encode_new_rows(tiered, rare(np.arange(7)).numpy())
    ids = np.arange(100)
    np.testing.assert_array_equal(grown(ids), tiered(ids))
    np.testing.assert_array_equal(grown(np.arange(100, 107)), rare(IDS[:7]))


@pytest.mark.parametrize("last", ["codes", "exact"])
def test_a_tiered_table_whose_rare_rows_share(last):
    popular = CodeLookupEmbedding.from_table(TABLE[:30], 3, 16)
    rare = CodeLookupEmbedding.from_table(TABLE[30:60], 1, 8)
    if last == "exact":
        rare = TableEmbedding(30, 9)
        rare.build()
    tiered = TieredEmbedding(100, 9, [popular, rare], private_rows=60)
    tiered.build()
    new = rare(np.arange(7)).numpy()
    once = mec_tf.encode_new_rows(tiered, new)
    twice = mec_tf.encode_new_rows(once, new[:2])
    assert (twice.input_dim, twice.private_rows) == (109, None)
    for grown in (once, twice):
        ids = np.arange(100)
        np.testing.assert_array_equal(grown(ids), tiered(ids))
        np.testing.assert_array_equal(grown(np.arange(100, 107)), new)
    np.testing.assert_array_equal(twice(np.array([107, 108])), new[:2])
    # The 40 rows that shared take a bit each, and one vector.
    assert value(once.tiers[2].codes).nbytes == 5
    inputs = {"item": np.arange(109), "other": np.arange(109)}
    separate = FieldEmbeddings({"item": twice, "other": TableEmbedding(109, 9)})
    separate(inputs)
    fused = FusedFieldEmbeddings.from_fields(separate)
    for name, answer in separate(inputs).items():
        np.testing.assert_array_equal(fused(inputs)[name], answer)


@pytest.mark.parametrize(
    "vectors, message",
    [
        (TABLE[:3, :8], "new rows, 9"),
        (np.full((2, 9), np.nan), "finite"),
        (TABLE[0], "new rows, 9"),
    ],
)
def test_vectors_that_do_not_fit_are_refused(vectors, message):
    layer = CodeLookupEmbedding.from_table(TABLE, 3, 16)
    with pytest.raises(ValueError, match=message):
        mec_tf.encode_new_rows(layer, vectors)


def test_layers_that_cannot_grow_are_refused():
    training = ResidualQuantizedEmbedding(10, 9)
    training.build()
    with pytest.raises(ValueError, match="CodeLookupEmbedding"):
        mec_tf.encode_new_rows(training, TABLE)
    with pytest.raises(ValueError, match="built"):
        mec_tf.encode_new_rows(CodeLookupEmbedding(10, 9, 3), TABLE)


USERS, ITEMS, NEW = 60, 80, 10


def examples(items, size=1500, seed=0):
    rng = np.random.default_rng(seed)
    user, item = rng.integers(0, USERS, size), rng.choice(items, size)
    quality = np.random.default_rng(1).normal(size=ITEMS + NEW)
    label = (quality[item] + 0.3 * rng.normal(size=size) > 0)[:, None]
    features = {"user": user.astype("int32"), "item": item.astype("int32")}
    return features, label.astype("float32")


def batches(*args, **kwargs):
    return tf.data.Dataset.from_tensor_slices(examples(*args, **kwargs)).batch(
        128
    )


class WithOwnWeight(tf.keras.Model):
    """Holds weights beside its table, and a dense layer."""

    def __init__(self):
        super().__init__()
        self.items = tf.keras.layers.Embedding(ITEMS, 9)
        self.head = MLP((8, 1))
        self.bias = self.add_weight(name="bias", shape=(1,))

    def call(self, inputs, training=False):
        return self.head(self.items(inputs["item"])) + self.bias


class Watch(tf.keras.callbacks.Callback):
    """Sees what learns."""

    def on_train_end(self, logs=None):
        self.shapes = [tuple(w.shape) for w in self.model.trainable_variables]


def trained(model):
    model.compile(
        tf.keras.optimizers.Adam(0.02),
        tf.keras.losses.BinaryCrossentropy(from_logits=True),
    )
    model.fit(batches(np.arange(ITEMS)), epochs=3, verbose=0)
    return model


@pytest.fixture(scope="module")
def compressed():
    tf.keras.utils.set_random_seed(0)
    model = trained(
        DeepFM(
            {"user": USERS, "item": ITEMS}, embedding_dim=8, hidden_units=(8,)
        )
    )
    return mec_tf.compress(
        model,
        batches(np.arange(ITEMS)),
        policy=CompressionPolicy(ratio=3),
        epochs=1,
        verbose=0,
    ).model


def test_a_short_fit_learns_new_rows_and_only_them(compressed, tmp_path):
    fresh = np.arange(ITEMS, ITEMS + NEW)
    before, seen = [value(w).copy() for w in compressed.weights], Watch()
    tf.keras.utils.set_random_seed(0)
    grown = fit_new_rows(
        compressed,
        {"item": NEW},
        batches(fresh),
        epochs=20,
        optimizer=tf.keras.optimizers.Adam(0.05),
        callbacks=[seen],
        verbose=0,
    )
    for old, now in zip(before, compressed.weights, strict=True):
        np.testing.assert_array_equal(old, value(now))
    features, labels = examples(np.arange(ITEMS), seed=5)
    np.testing.assert_array_equal(
        compressed.predict(features, verbose=0),
        grown.predict(features, verbose=0),
    )
    features, labels = examples(fresh, seed=6)
    auc = mec_tf.training.rank_auc(labels, grown.predict(features, verbose=0))
    unknown = {**features, "item": np.zeros_like(features["item"])}
    chance = mec_tf.training.rank_auc(labels, grown.predict(unknown, verbose=0))
    assert auc > chance + 0.2
    # The fit sees the rows as they will be encoded.
    np.testing.assert_allclose(
        seen.model.predict(features, verbose=0),
        grown.predict(features, verbose=0),
        atol=1e-5,
    )
    assert grown.evaluate(features, labels, verbose=0) > 0  # compiled
    path = tmp_path / "grown.keras"
    grown.save(path)
    again = tf.keras.models.load_model(path)
    assert again.categorical == {"user": USERS, "item": ITEMS + NEW}
    np.testing.assert_array_equal(
        again.predict(features, verbose=0), grown.predict(features, verbose=0)
    )


def test_weights_beside_the_table_stand_still():
    model = trained(WithOwnWeight())
    result = mec_tf.compress(
        model,
        batches(np.arange(ITEMS)),
        policy=CompressionPolicy(ratio=3),
        epochs=0,
        verbose=0,
    )
    fresh = batches(np.arange(ITEMS, ITEMS + NEW))
    seen = Watch()
    grown = fit_new_rows(
        result.model,
        {"items": NEW},
        fresh,
        epochs=1,
        verbose=0,
        callbacks=[seen],
    )
    assert seen.shapes == [(NEW + 1, 9)]
    ours = {tuple(w.shape): value(w) for w in result.model.head.weights}
    for weight in seen.model.head.weights:
        np.testing.assert_array_equal(ours[tuple(weight.shape)], value(weight))
    features, _ = examples(np.arange(ITEMS), seed=5)
    np.testing.assert_array_equal(
        result.model.predict(features, verbose=0),
        grown.predict(features, verbose=0),
    )
    assert table_layers(grown)["items"].input_dim == ITEMS + NEW


def test_growing_by_given_vectors(compressed):
    path = "field_embeddings/tables/item"
    width = table_layers(compressed)[path].output_dim
    vectors = RNG.normal(size=(NEW, width)).astype("float32")
    grown = grow(compressed, {path: vectors}, batches(np.arange(ITEMS)))
    again = grow(grown, {"user": vectors}, batches(np.arange(ITEMS)))
    sizes = {p: t.input_dim for p, t in table_layers(again).items()}
    assert sizes[path] == ITEMS + NEW
    assert sizes["field_embeddings/tables/user"] == USERS + NEW


def test_unknown_tables_and_sizes_are_refused(compressed):
    data = batches(np.arange(ITEMS))
    with pytest.raises(ValueError, match="one table 'shop'"):
        fit_new_rows(compressed, {"shop": 3}, data)
    with pytest.raises(ValueError, match="item=0"):
        fit_new_rows(compressed, {"item": 0}, data)
