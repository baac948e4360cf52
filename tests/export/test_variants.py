"""XLA-compiled and float16 exports."""

import numpy as np
import pytest
import tensorflow as tf

import mec_tf
from mec_tf.layers import TableEmbedding
from mec_tf.models import DeepFM


def answers(path, signature, **inputs):
    return tf.saved_model.load(str(path)).signatures[signature](**inputs)


def by_input(report, ids):
    return {report.inputs[name]: values for name, values in ids.items()}


def functions_compiled(path):
    """Functions of the SavedModel that XLA must compile."""
    loaded = tf.saved_model.load(str(path))
    graph = loaded.signatures["serving_default"].graph.as_graph_def()
    return [
        function.signature.name
        for function in graph.library.function
        if function.attr["_XlaMustCompile"].b
    ]


@pytest.mark.parametrize("storage", ["float32", "float16"])
def test_compiled_by_xla(tmp_path, model, vocabularies, raw_batch, storage):
    raw, ids = raw_batch
    report = mec_tf.export.save(
        model,
        tmp_path / "1",
        vocabularies=vocabularies,
        activation="sigmoid",
        jit_compile=True,
        float_storage=storage,
        warmup=[1],
    )
    expected = tf.sigmoid(model(ids)).numpy()
    atol = 1e-6 if storage == "float32" else 5e-3
    for signature, batch in (
        ("ids", by_input(report, ids)),
        ("serving_default", raw),
    ):
        for size in (1, 4):
            part = {name: values[:size] for name, values in batch.items()}
            found = answers(report.path, signature, **part)["probability"]
            np.testing.assert_allclose(found, expected[:size], atol=atol)
    assert functions_compiled(report.path)


def test_plain_export_is_not_compiled(tmp_path, model):
    mec_tf.export.save(model, tmp_path / "1")
    assert not functions_compiled(tmp_path / "1")


def test_what_xla_cannot_compile(tmp_path, capfd):
    refusing = DeepFM(
        {"a": 9},
        embedding_dim=4,
        hidden_units=(4,),
        embedding_layer={"a": TableEmbedding(9, 5, oov="error")},
    )
    refusing.build(None)
    with pytest.raises(NotImplementedError, match="cannot be compiled by XLA"):
        mec_tf.export.save(refusing, tmp_path / "1", jit_compile=True)

    class Lookup(tf.keras.Model):
        def call(self, inputs):
            return tf.strings.to_number(inputs)

    example = np.array(["1", "2"], object)
    with pytest.raises(ValueError, match="`jit_compile` must be False"):
        mec_tf.export.save(
            Lookup(), tmp_path / "1", example=example, jit_compile=True
        )
    capfd.readouterr()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("fuse", [True, False])
def test_matrices_are_stored_as_float16(
    tmp_path, model, vocabularies, raw_batch, fuse
):
    raw, ids = raw_batch
    options = {"vocabularies": vocabularies, "fuse": fuse}
    whole = mec_tf.export.save(model, tmp_path / "1", **options)
    half = mec_tf.export.save(
        model, tmp_path / "2", float_storage="float16", **options
    )
    codes = 300 * 2 + 4 * 3
    assert half.bytes_on_disk == codes + (whole.bytes_on_disk - codes) // 2
    kernels = sum(
        w.size
        for w in model.get_weights()
        if w.ndim == 2 and w.dtype == np.float32
    )
    tables = (whole.bytes_on_disk - codes) // 4
    dense = whole.dense_bytes - 2 * (kernels - tables)
    assert half.dense_bytes == dense
    contents = mec_tf.export.inspect_saved_model(half.path)
    for variable in contents.variables:
        floating = "codes" not in variable.name
        rank = len(variable.shape)
        assert (variable.dtype == "float16") == (floating and rank > 1)
    expected = model(ids).numpy()
    found = answers(half.path, "ids", **by_input(half, ids))["logits"]
    assert found.dtype == tf.float32
    gap = np.abs(found - expected).max()
    assert 1e-7 < gap < 5e-3 * max(1, np.abs(expected).max())
    raw_found = answers(half.path, "serving_default", **raw)["logits"]
    np.testing.assert_allclose(raw_found, found, atol=1e-6)
    assert half.max_difference < 5e-3


def test_rows_are_decoded_after_they_are_gathered(tmp_path):
    ids = tf.keras.Input((3,), dtype="int32", name="ids")
    vectors = tf.keras.layers.Embedding(5000, 4)(ids)
    flat = tf.keras.layers.Flatten()(vectors)
    model = tf.keras.Model(ids, tf.keras.layers.Dense(1)(flat))
    report = mec_tf.export.save(model, tmp_path / "1", float_storage="float16")
    assert report.bytes_on_disk == 5000 * 4 * 2
    loaded = tf.saved_model.load(report.path)
    graph = loaded.signatures["ids"].graph.as_graph_def()
    nodes = [
        node
        for owner in [graph, *graph.library.function]
        for node in (owner.node if owner is graph else owner.node_def)
    ]
    gathers = [n for n in nodes if n.op in ("ResourceGather", "GatherV2")]
    names = {"ResourceGather": "dtype", "GatherV2": "Tparams"}
    half = tf.float16.as_datatype_enum
    assert gathers
    assert all(n.attr[names[n.op]].type == half for n in gathers)


def test_bad_options(tmp_path, model):
    with pytest.raises(ValueError, match="`float_storage` must be"):
        mec_tf.export.save(model, tmp_path / "1", float_storage="int8")
    with pytest.raises(ValueError, match="`fold` must be False"):
        mec_tf.export.save(model, tmp_path / "1", jit_compile=True, fold="auto")
    large = DeepFM({"a": 9}, embedding_dim=4, hidden_units=(4,))
    large.build(None)
    large.set_weights([np.full_like(w, 1e5) for w in large.get_weights()])
    with pytest.raises(ValueError, match="`float_storage`.*100000"):
        mec_tf.export.save(large, tmp_path / "1", float_storage="float16")
    assert not list(tmp_path.iterdir())
