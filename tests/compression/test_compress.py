"""`compress` and `plan` on small models."""

import dataclasses
import sys

import numpy as np
import pytest
import tensorflow as tf

import mec_tf
from mec_tf.compression import (
    compress_table,
    layer_bytes,
    model_bytes,
    read_table,
    tables,
)
from mec_tf.compression.popularity import count_ids
from mec_tf.layers import CodeLookupEmbedding, ProductQuantizedEmbedding
from tests.harness import raw_variable

USERS, ITEMS = 400, 300


def examples(size=4000, seed=0):
    """Clicks of users on items they like, popular ids first."""
    rng = np.random.default_rng(seed)
    user = np.minimum(rng.zipf(1.3, size), USERS) - 1
    item = np.minimum(rng.zipf(1.3, size), ITEMS) - 1
    taste = np.random.default_rng(1).normal(size=(2, 400, 3))
    logit = (taste[0, user] * taste[1, item]).sum(axis=1)
    label = (logit + rng.normal(size=size) > 0).astype(np.float32)
    features = {"user": user.astype(np.int64), "item": item.astype(np.int64)}
    return features, label[:, None]


def dataset(**kwargs):
    return tf.data.Dataset.from_tensor_slices(examples(**kwargs)).batch(256)


class Plain(tf.keras.Model):
    """A subclassed model whose `call` has no `training` argument."""

    def __init__(self):
        super().__init__()
        self.table = tf.keras.layers.Embedding(USERS, 8)
        self.out = tf.keras.layers.Dense(1)

    def call(self, features):
        return self.out(self.table(features["user"]))


def functional_model():
    user = tf.keras.Input((), dtype="int64", name="user")
    item = tf.keras.Input((), dtype="int64", name="item")
    layers = tf.keras.layers
    parts = [
        layers.Embedding(USERS, 16, name="users")(user),
        layers.Embedding(ITEMS, 16, name="items")(item),
        layers.Embedding(USERS, 1, name="first_order")(user),
    ]
    hidden = layers.Dense(16, activation="relu")(layers.Concatenate()(parts))
    model = tf.keras.Model(
        {"user": user, "item": item}, layers.Dense(1)(hidden)
    )
    loss = tf.keras.losses.BinaryCrossentropy(from_logits=True)
    model.compile(tf.keras.optimizers.Adam(0.01), loss)
    return model


def trained():
    model = functional_model()
    model.fit(dataset(), epochs=3, verbose=0)
    return model


def test_compress_reports_real_bytes_and_keeps_the_model():
    model = trained()
    weights = [np.array(w) for w in model.get_weights()]
    valid = dataset(seed=5)
    result = mec_tf.compress(
        model,
        dataset(),
        validation_data=valid,
        policy=mec_tf.CompressionPolicy(ratio=8),
        epochs=2,
        verbose=0,
    )
    for before, after in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)
    report = result.report
    assert [t.path for t in report.tables] == ["users", "items", "first_order"]
    assert report.bytes_before == 4 * (16 * (USERS + ITEMS) + USERS)
    assert report.bytes_after == sum(model_bytes(result.model).values())
    assert report.bytes_after == result.plan.bytes_after
    assert report.ratio >= 8
    name, before, after = report.score
    assert name == "val_loss" and after <= before
    loss = result.model.evaluate(valid, verbose=0)
    assert loss == pytest.approx(after, abs=2e-3)  # float16 codebooks
    assert "all tables" in str(report)
    assert isinstance(result.model.get_layer("users"), CodeLookupEmbedding)


def test_training_recovers_what_quantizing_loses():
    model = trained()
    settings = {"*": mec_tf.TableSettings(1, 8)}
    policy = mec_tf.CompressionPolicy(ratio=8, tables=settings)
    result = mec_tf.compress(
        model,
        dataset(),
        validation_data=dataset(),
        policy=policy,
        epochs=6,
        verbose=0,
    )
    _, before, after = result.report.score
    assert after < before - 0.01


def test_cold_start_forgets_the_trained_weights():
    model = trained()
    policy = mec_tf.CompressionPolicy(ratio=8, start="cold")
    result = mec_tf.compress(
        model,
        dataset(),
        validation_data=dataset(),
        policy=policy,
        epochs=4,
        verbose=0,
    )
    _, before, after = result.report.score
    assert before > 0.65 > after + 0.02  # ln 2 = 0.69: knows nothing


def test_finding_tables_draws_no_random_values(monkeypatch):
    """Or the first call in a process would start from other ones."""
    drawn = []
    for _ in range(2):  # what Keras puts on a layer is looked at once
        tf.keras.utils.set_random_seed(0)
        if not drawn:
            monkeypatch.setattr(tables, "_INTERNAL", set())
        tables.internal_names()
        layer = tf.keras.layers.Dense(3)
        layer.build((None, 2))
        drawn.append(raw_variable(layer.kernel).numpy())
    np.testing.assert_array_equal(*drawn)


def test_explicit_settings_win():
    model = trained()
    policy = mec_tf.CompressionPolicy(
        ratio=2,
        tables={
            "users": mec_tf.TableSettings(4, 32, "float32", private_rows=100),
            "first*": mec_tf.TableSettings(0),
        },
    )
    plan = mec_tf.plan(model, dataset(), policy=policy)
    assert plan["users"].settings == policy.tables["users"]
    # Four codes of 5 bits take 3 bytes.
    assert plan["users"].bytes_after == 100 * 3 + 4 * 32 * 4 * 4
    assert plan["first_order"].bytes_after == USERS * 4
    assert "policy" in plan["first_order"].reason


def test_settings_of_all_tables_are_held_to_no_usual_ratio():
    model = trained()
    tables = {"users": mec_tf.TableSettings(8, 256, "float32")}
    some = mec_tf.CompressionPolicy(tables=tables)
    with pytest.raises(ValueError, match=r"at best .*ratio=50"):
        mec_tf.plan(model, dataset(), policy=some)
    tables["*"] = mec_tf.TableSettings(0)
    plan = mec_tf.plan(
        model, dataset(), policy=dataclasses.replace(some, tables=tables)
    )
    assert plan["users"].settings == tables["users"]
    assert plan.ratio < 8
    both = dataclasses.replace(some, tables=tables, ratio=8)
    with pytest.raises(ValueError, match=r"at best .*ratio=8"):
        mec_tf.plan(model, dataset(), policy=both)


def test_a_given_plan_is_followed(monkeypatch):
    model = trained()
    policy = mec_tf.CompressionPolicy(ratio=8)
    plan = mec_tf.plan(model, dataset(), policy=policy)
    # The module, which the function of the same name hides.
    module = sys.modules["mec_tf.compression.compress"]
    monkeypatch.delattr(module, "make_plan")
    result = mec_tf.compress(
        model, dataset(), policy=policy, plan=plan, epochs=0, verbose=0
    )
    assert result.plan is plan
    assert result.report.bytes_after == plan.bytes_after
    part = dataclasses.replace(plan, tables=plan.tables[1:])
    with pytest.raises(ValueError, match="`plan` must be of the tables"):
        mec_tf.compress(model, dataset(), plan=part, verbose=0)


def test_one_measurement_serves_several_plans(monkeypatch):
    model = trained()
    tables = mec_tf.compression.find_tables(model)
    counts = {table.path: np.arange(table.rows)[::-1] for table in tables}
    measured = {}
    policies = [mec_tf.CompressionPolicy(ratio=ratio) for ratio in (4, 8)]
    first, _ = (
        mec_tf.compression.make_plan(tables, policy, counts, measured=measured)
        for policy in policies
    )
    assert set(measured) == {t.path for t in tables}
    monkeypatch.setattr("mec_tf.compression.methods.codes.measured_codes", None)
    again = mec_tf.compression.make_plan(
        tables, policies[0], counts, measured=measured
    )
    assert again == first


def test_counting_pass_equals_numpy():
    model = trained()
    tables = mec_tf.compression.find_tables(model)
    data = dataset()
    counts = count_ids(model, tables, data, next(iter(data)))
    features, _ = examples()
    expected = np.bincount(features["user"], minlength=USERS)
    np.testing.assert_array_equal(counts["users"], expected)
    np.testing.assert_array_equal(counts["first_order"], expected)


@pytest.mark.parametrize("ratio", [4, 10, 20])
def test_plan_meets_the_budget(ratio):
    plan = mec_tf.plan(
        trained(), dataset(), policy=mec_tf.CompressionPolicy(ratio=ratio)
    )
    assert plan.ratio >= ratio
    assert plan.bytes_before == 4 * (16 * (USERS + ITEMS) + USERS)


def test_errors_name_the_argument():
    model = trained()
    policy = mec_tf.CompressionPolicy
    with pytest.raises(ValueError, match="at best .* Received: ratio=100000"):
        mec_tf.plan(model, dataset(), policy=policy(ratio=100000))
    with pytest.raises(ValueError, match="`ratio` must be above 1"):
        policy(ratio=0.5)
    with pytest.raises(ValueError, match="`ratio` and `max_bytes`"):
        policy(ratio=10, max_bytes=10)
    uneven = policy(tables={"*": mec_tf.TableSettings(3)})
    with pytest.raises(ValueError, match="`num_subspaces` must divide"):
        mec_tf.plan(model, dataset(), policy=uneven)
    with pytest.raises(ValueError, match="must be built"):
        mec_tf.plan(Plain(), dataset())
    dense = tf.keras.Sequential(
        [tf.keras.Input((2,)), tf.keras.layers.Dense(1)]
    )
    with pytest.raises(ValueError, match="must hold an embedding table"):
        mec_tf.plan(dense, dataset())
    with pytest.raises(ValueError, match="`monitor` must be 'val_'"):
        mec_tf.compress(
            model,
            dataset(),
            validation_data=dataset(),
            policy=policy(ratio=4),
            monitor="val_nonsense",
            verbose=0,
        )
    uncompiled = tf.keras.Sequential(
        [tf.keras.Input((2,)), tf.keras.layers.Embedding(9, 2)]
    )
    with pytest.raises(ValueError, match="`model` must be compiled"):
        mec_tf.compress(uncompiled, (np.zeros((9, 2)),))


def test_nan_in_a_table_is_refused_before_training():
    model = trained()
    weights = model.get_weights()
    weights[0][7] = np.nan
    model.set_weights(weights)
    with pytest.raises(ValueError, match="NaN or infinity in row 7"):
        mec_tf.compress(model, dataset(), verbose=0)


def test_layer_bytes_counts_codes_and_codebooks():
    table = np.random.default_rng(0).normal(size=(100, 8)).astype(np.float32)
    layer = CodeLookupEmbedding.from_table(
        table, 2, 16, codebook_dtype="float16"
    )
    assert layer_bytes(layer) == 100 * 2 + 2 * 16 * 4 * 2


def test_pwr_and_contrastive_weights_reach_the_layers(monkeypatch):
    seen = []
    build = ProductQuantizedEmbedding.build

    def spy(self, *args, **kwargs):
        seen.append((self.pwr_weight, self.contrastive_weight))
        return build(self, *args, **kwargs)

    monkeypatch.setattr(ProductQuantizedEmbedding, "build", spy)
    policy = mec_tf.CompressionPolicy(
        ratio=4, pwr_weight=1e-4, contrastive_weight=2e-3
    )
    mec_tf.compress(trained(), dataset(), policy=policy, epochs=1, verbose=0)
    assert set(seen) == {(1e-4, 2e-3)}


def test_tables_from_files(tmp_path):
    table = np.random.default_rng(0).normal(size=(200, 8)).astype(np.float32)
    np.save(tmp_path / "table.npy", table)
    checkpoint = tf.train.Checkpoint(table=tf.Variable(table))
    prefix = checkpoint.save(str(tmp_path / "ckpt"))
    name = "table/.ATTRIBUTES/VARIABLE_VALUE"
    settings = mec_tf.TableSettings(4, 64)
    ours = compress_table(table, settings)
    for layer in (
        compress_table(tmp_path / "table.npy", settings),
        compress_table(prefix, settings, variable=name),
        compress_table(prefix, settings),
    ):
        np.testing.assert_array_equal(layer.codes, ours.codes)
    error = np.square(ours(np.arange(200)).numpy() - table).mean()
    assert error < 0.3 * table.var()
    thin = mec_tf.TableSettings(3, 64, quantizer="rotated", rank=6)
    layer = compress_table(table, thin)
    assert layer.rank == 6
    assert layer_bytes(layer) == thin.stored_bytes(200, 8, 0)
    tiers = mec_tf.TableSettings(1, 16, heads=((50, settings),))
    with pytest.raises(ValueError, match="no `heads`"):
        compress_table(table, tiers)
    with pytest.raises(FileNotFoundError, match="neither"):
        read_table(tmp_path / "nothing")
    with pytest.raises(ValueError, match="`variable` must be one of"):
        read_table(prefix, "other")
    np.save(tmp_path / "flat.npy", table[0])
    with pytest.raises(ValueError, match="table of floats"):
        read_table(tmp_path / "flat.npy")


def test_train_steps_are_known_without_a_training_argument():
    model = Plain()
    model.compile("adam", "mse")
    model.fit(dataset(), verbose=0)
    settings = mec_tf.TableSettings(2, 16)
    losses = []
    for weight in (0.0, 100.0):
        policy = mec_tf.CompressionPolicy(
            ratio=2, tables={"*": settings}, commitment_weight=weight
        )
        tf.keras.utils.set_random_seed(0)
        result = mec_tf.compress(
            model, dataset(), policy=policy, epochs=1, verbose=0
        )
        losses.append(result.history["loss"][0])
    assert losses[1] > losses[0] + 0.01
