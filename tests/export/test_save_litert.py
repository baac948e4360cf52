"""LiteRT files: built-in ops, codes that keep their bytes, same answers."""

import warnings

import numpy as np
import pytest
import tensorflow as tf

import mec_tf
from mec_tf.layers import CodeLookupEmbedding
from mec_tf.models import DeepFM

ROWS = 3000


def coded(size, bit_packed=False, dtype="float32"):
    rng = np.random.default_rng(size)
    tables = {
        name: CodeLookupEmbedding.from_codes(
            rng.integers(0, size, (ROWS, 2)),
            rng.normal(size=(2, size, 3)),
            additive_dim=1,
            bit_packed=bit_packed,
            codebook_dtype=dtype,
        )
        for name in "ab"
    }
    model = DeepFM(
        dict.fromkeys("ab", ROWS),
        {"price": (0.5, 2.0)},
        embedding_dim=4,
        hidden_units=(8,),
        embedding_layer=tables,
    )
    model.build(None)
    return model


def interpreter(path):
    with warnings.catch_warnings():  # some releases call it deprecated
        warnings.simplefilter("ignore", UserWarning)
        return tf.lite.Interpreter(model_path=str(path))


def held_types(path):
    """`{dtype: elements}` of the tensors of many rows."""
    found = {}
    for tensor in interpreter(path).get_tensor_details():
        elements = int(np.prod(tensor["shape"]))
        if elements >= ROWS / 4:
            name = tensor["dtype"].__name__
            found[name] = found.get(name, 0) + elements
    return found


@pytest.mark.parametrize(
    "size, bit_packed, fuse, codes",
    [
        (16, False, True, {"uint8": 4 * ROWS}),
        (16, False, False, {"uint8": 4 * ROWS}),
        (300, False, True, {"int16": 4 * ROWS, "float32": 2 * 2 * 300 * 3}),
        (16, True, True, {"uint8": 2 * ROWS}),
        (2, True, True, {"uint8": 2 * ROWS // 4}),
        (300, True, True, {"uint8": 6 * ROWS, "float32": 2 * 2 * 300 * 3}),
    ],
    ids=["8", "8-alone", "16", "packed-4", "packed-1", "packed-9"],
)
def test_codes_keep_their_bytes(tmp_path, size, bit_packed, fuse, codes):
    model = coded(size, bit_packed)
    path = tmp_path / "m.tflite"
    report = mec_tf.export.save_litert(
        model, path, activation="sigmoid", fuse=fuse
    )
    counted = sum(mec_tf.compression.model_bytes(model).values())
    assert report.table_bytes == counted and report.widened_bytes == 0
    assert report.bytes_total == path.stat().st_size < counted + 24_000
    assert held_types(path) == codes
    ids = np.array([0, 1, ROWS - 1, ROWS, -1], np.int32)
    batch = {"a": ids, "b": ids[::-1].copy(), "price": np.ones(5, np.float32)}
    found = interpreter(path).get_signature_runner()(**batch)
    expected = tf.sigmoid(model(batch)).numpy()
    assert len(np.unique(expected)) > 2
    np.testing.assert_allclose(found["probability"], expected, atol=1e-5)
    assert [p.name for p in tmp_path.iterdir()] == ["m.tflite"]


def test_half_codebooks_are_widened_and_reported(tmp_path):
    report = mec_tf.export.save_litert(
        coded(16, dtype="float16"), tmp_path / "m.tflite"
    )
    assert report.widened_bytes == 2 * 2 * 16 * 3 * 2
    assert "widened" in str(report)


@pytest.mark.parametrize("codes", [2, 3])
@pytest.mark.parametrize("bit_packed", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_residual_codes(tmp_path, codes, bit_packed, dtype):
    rng = np.random.default_rng(0)
    table = CodeLookupEmbedding.from_codes(
        rng.integers(0, 16, (ROWS, codes)),
        rng.normal(size=(codes, 16, 5)),
        additive_dim=5,
        bit_packed=bit_packed,
        codebook_dtype=dtype,
    )
    model = DeepFM({"a": ROWS}, embedding_dim=4, embedding_layer={"a": table})
    model.build(None)
    report = mec_tf.export.save_litert(model, tmp_path / "m.tflite")
    assert report.max_difference <= 1e-5


def test_only_built_in_ops(tmp_path, model):
    report = mec_tf.export.save_litert(model, tmp_path / "m.tflite")
    names = {
        op["op_name"] for op in interpreter(report.path)._get_ops_details()
    }
    assert "GATHER" in names
    assert not [n for n in names if n.startswith(("Flex", "CUSTOM"))]
    assert report.max_difference <= 1e-5


def test_plain_keras_model(tmp_path):
    items = tf.keras.Input((3,), dtype="int64", name="items")
    vectors = tf.keras.layers.Embedding(50, 4)(items)
    flat = tf.keras.layers.Flatten()(vectors)
    model = tf.keras.Model(items, tf.keras.layers.Dense(1)(flat))
    report = mec_tf.export.save_litert(model, tmp_path / "m.tflite")
    assert report.table_bytes == 50 * 4 * 4
    batch = np.array([[1, 2, 49], [0, 0, 7]])
    found = interpreter(report.path).get_signature_runner()(items=batch)
    np.testing.assert_allclose(found["logits"], model(batch), atol=1e-5)


def test_what_cannot_be_written(tmp_path, model, capfd):
    class Sorted(tf.keras.Model):
        def call(self, inputs):
            return tf.strings.length(tf.strings.as_string(inputs))

    with pytest.raises(ValueError, match="built into LiteRT.*AsString"):
        mec_tf.export.save_litert(
            Sorted(), tmp_path / "m.tflite", example=np.ones((2, 1))
        )
    capfd.readouterr()
    assert not list(tmp_path.iterdir())
    (tmp_path / "m.tflite").write_text("mine")
    with pytest.raises(FileExistsError, match="`path` must be new"):
        mec_tf.export.save_litert(model, tmp_path / "m.tflite")
    assert (tmp_path / "m.tflite").read_text() == "mine"
    mec_tf.export.save_litert(model, tmp_path / "m.tflite", overwrite=True)
    assert (tmp_path / "m.tflite").stat().st_size > 1000
