"""First layers that look products of codebooks and kernels up."""

import json
import sys
import time

import numpy as np
import pytest
import tensorflow as tf

import mec_tf
from mec_tf import compression
from mec_tf.cli.inspect import saved_tables
from mec_tf.export.fold import faster, fold
from mec_tf.layers import CodeLookupEmbedding, TableEmbedding
from mec_tf.models import DIN, DLRM, GDCN, PNN, DCNv2, DeepFM

DIM = 8
ROWS = {"a": 50, "b": 40, "c": 30, "d": 20, "e": 30}
FOLDED = ("a", "b", "d")  # `c` is exact, `e` has c's table
SIZE = 16


def codes(rows, additive, residual=False, **config):
    """Two codes a row."""
    rng = np.random.default_rng(rows)
    width = DIM + additive
    entry = width if residual else DIM // 2 + additive
    return CodeLookupEmbedding.from_codes(
        rng.integers(0, SIZE, (config.get("private_rows") or rows, 2)),
        rng.normal(size=(2, SIZE, entry)),
        additive_dim=width if residual else additive,
        output_dim=width,
        input_dim=rows,
        **config,
    )


def tables(additive, **config):
    """Fused codes of `a`, `b` and `d`; `c` in full precision."""
    exact = TableEmbedding(
        ROWS["c"],
        DIM + additive,
        additive_dim=additive,
        embeddings_initializer="normal",
    )
    made = {n: codes(ROWS[n], additive, **config) for n in FOLDED}
    return {**made, "c": exact}


def built(cls, numeric=True, dtype="float32", table_config=None, **kwargs):
    model = cls(
        ROWS,
        {"price": (0.5, 2.0)} if numeric else None,
        embedding_dim=DIM,
        hidden_units=kwargs.pop("hidden_units", (12, 4)),
        embedding_layer=tables(cls.additive_dim, **(table_config or {})),
        shared_tables={"e": "c"},
        dtype=dtype,
        **kwargs,
    )
    model.build(None)
    for weight in model.weights:  # biases too
        if "bias" in weight.name:
            weight.assign(np.random.default_rng(7).normal(size=weight.shape))
    return model


def batch(size):
    """Ids in and out of range, and a number."""
    rng = np.random.default_rng(size)
    ids = {
        name: tf.constant(rng.integers(-1, rows + 2, size), tf.int32)
        for name, rows in ROWS.items()
    }
    ids["price"] = tf.constant(rng.normal(size=size), tf.float32)
    return ids


CASES = {
    "deepfm": (DeepFM, {}, {}),
    "deepfm, residual": (DeepFM, {}, {"residual": True}),
    "deepfm, packed": (DeepFM, {}, {"bit_packed": True}),
    "deepfm, float16": (DeepFM, {}, {"codebook_dtype": "float16"}),
    "dcnv2": (DCNv2, {"num_cross_layers": 2}, {}),
    "dcnv2, no tower": (DCNv2, {"hidden_units": ()}, {}),
    "pnn": (PNN, {"numeric": False}, {"private_rows": 7}),
    "gdcn": (GDCN, {}, {"oov": 3}),
}


@pytest.mark.parametrize("case", CASES)
def test_answers_alike(case):
    cls, config, table_config = CASES[case]
    model = compression.fuse(built(cls, **config, table_config=table_config))
    before = [w.copy() for w in model.get_weights()]
    folded = fold(model)
    layers = [folded.model.tower, getattr(folded.model, "cross", None)]
    assert len(folded.products) == sum(
        hasattr(part, "multiply")
        for layer in layers
        if layer is not None
        for part in (layer, *getattr(layer, "dense_layers", ()))
    )
    for size in (0, 1, 2, 3, 40):  # looked up for up to two
        ids = batch(size)
        found, expected = folded.model(ids), model(ids)
        np.testing.assert_allclose(found, expected, atol=1e-5, rtol=0)
    after = model.get_weights()
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))
    assert type(model.field_embeddings).__name__ == "FusedFieldEmbeddings"


def test_few_examples_are_looked_up_and_many_multiplied():
    """Wrong products change the answers of few examples only."""
    model = compression.fuse(built(DeepFM))
    folded = fold(model)
    (products,) = folded.products.values()
    assert products.shape == (1 + len(FOLDED) * 2 * SIZE, 12)
    assert folded.bytes == {"tower/folded_products": 97 * 12 * 4}
    products.assign(products + 1.0)

    def gap(size, run=folded.model):
        ids = batch(size)
        return np.abs(run(ids) - model(ids)).max()

    assert gap(1) > 1e-2 and gap(2) > 1e-2
    assert gap(3) < 1e-6 and gap(40) < 1e-6
    # XLA has no sum of looked-up rows.
    compiled = tf.function(folded.model, jit_compile=True)
    assert gap(1, compiled) < 1e-5


def test_sequences_stay_as_they_are():
    rows = {"user": 20, "item": 20, "history": 20}
    model = DIN(
        rows,
        embedding_dim=DIM,
        hidden_units=(6,),
        sequences={"history": "item"},
        embedding_layer={n: codes(20, 0) for n in ("user", "item")},
    )
    model.build(None)
    model = compression.fuse(model)
    folded = fold(model)
    (products,) = folded.products.values()
    assert products.shape[0] == 1 + 2 * 2 * SIZE
    rng = np.random.default_rng(0)
    for size in (1, 30):
        ids = {n: rng.integers(0, 20, size) for n in ("user", "item")}
        ids["history"] = rng.integers(0, 20, (size, 3))
        np.testing.assert_allclose(folded.model(ids), model(ids), atol=1e-5)


def test_export_counts_the_products(tmp_path):
    model = built(DCNv2)
    plain = mec_tf.export.save(model, tmp_path / "1")
    report = mec_tf.export.save(model, tmp_path / "2", fold=True)
    width = len(ROWS) * DIM + 1
    products = 97 * (12 + width) * 4
    assert (plain.folded_bytes, report.folded_bytes) == (0, products)
    assert report.bytes_on_disk == plain.bytes_on_disk + products
    assert report.max_difference <= 1e-5
    assert f"{products:,} bytes" in str(report)
    assert json.loads(json.dumps(report.to_dict()))["folded_bytes"] == products
    contents = mec_tf.export.inspect_saved_model(tmp_path / "2")
    kinds = {table.path: table.kind for table in contents.tables}
    assert kinds["tower/folded_products"] == "FoldedProducts"
    assert kinds["cross/folded_products"] == "FoldedProducts"
    assert contents.full_bytes == compression.full_bytes(model)
    assert contents.bytes_on_disk == report.bytes_on_disk
    shown = {row[0]: row[4] for row in saved_tables(tmp_path / "2")}
    assert sum(shown.values()) == report.bytes_on_disk
    loaded = tf.saved_model.load(str(tmp_path / "2")).signatures["ids"]
    for size in (1, 2, 3, 40):
        ids = batch(size)
        found = loaded(**ids)["logits"]
        np.testing.assert_allclose(found, model(ids), atol=1e-5)


@pytest.mark.parametrize("is_faster", [True, False])
def test_auto_keeps_what_is_faster(tmp_path, monkeypatch, is_faster):
    asked = []

    def faster(one, other, arguments):
        sizes = {len(values) for values in arguments.values()}
        answers = [f(**arguments)["logits"] for f in (one, other)]
        np.testing.assert_allclose(*answers, atol=1e-5)
        asked.append(sizes)
        return is_faster

    # The package has a function of the module's name.
    saving = sys.modules["mec_tf.export.save"]
    monkeypatch.setattr(saving, "faster", faster)
    model = built(PNN)
    report = mec_tf.export.save(
        model, tmp_path / "1", fold="auto", fold_batch=3
    )
    assert asked == [{3}]
    assert (report.folded_bytes > 0) == is_faster


def test_faster_compares_two_functions(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])

    def lasting(seconds):
        def run(x):
            clock[0] += seconds * x

        return run

    assert faster(lasting(1.06), lasting(1.0), {"x": 2})
    assert not faster(lasting(1.04), lasting(1.0), {"x": 2})
    assert not faster(lasting(1.0), lasting(2.0), {"x": 2})


def test_what_cannot_be_folded(tmp_path):
    exact = DeepFM({"a": 9, "b": 9}, embedding_dim=4, hidden_units=(4,))
    exact.build(None)
    models = {
        "DLRM": built(DLRM),
        "without such tables": exact,
        "float16": built(DeepFM, dtype="mixed_float16"),
        "DeepFM": built(DeepFM, hidden_units=()),
    }
    for match, model in models.items():
        with pytest.raises(ValueError, match=f"`fold` must be.*{match}"):
            mec_tf.export.save(model, tmp_path / "1", fold=True)
    for arguments in ({"fold": "always"}, {"fold": True, "fold_batch": 0}):
        with pytest.raises(ValueError, match="`fold` must be True"):
            mec_tf.export.save(exact, tmp_path / "1", **arguments)
    with pytest.raises(ValueError, match="a DeepFM without"):
        mec_tf.export.save(built(DeepFM), tmp_path / "1", fold=True, fuse=False)
    assert not list(tmp_path.iterdir())
    report = mec_tf.export.save(exact, tmp_path / "1", fold="auto")
    assert report.folded_bytes == 0
