"""Embedding codes as a file: what comes back, and what is refused."""

import dataclasses
import json
import pathlib
import struct

import numpy as np
import pytest
import tensorflow as tf
from safetensors.numpy import load_file, save_file

import mec_tf
from mec_tf.compression import (
    StoredTable,
    codes_file,
    layer_bytes,
    model_bytes,
)
from mec_tf.layers import (
    CodeLookupEmbedding,
    HashedEmbedding,
    ProductQuantizedEmbedding,
    TableEmbedding,
)

ROWS = {"user id": 60, "item": 40, "country": 5}
GOLDEN = pathlib.Path(__file__).parent / "golden" / "codes_v1.safetensors"


def code_table(rows, seed=0, **config):
    rng = np.random.default_rng(seed)
    return CodeLookupEmbedding.from_codes(
        rng.integers(0, 16, (rows, 2)),
        rng.normal(size=(2, 16, 5)).astype(np.float32),
        additive_dim=1,
        **config,
    )


def exact_table():
    values = np.random.default_rng(3).normal(size=(5, 9))
    layer = TableEmbedding(5, 9, additive_dim=1)
    layer.build()
    layer.set_weights([values.astype(np.float32)])
    return layer


def compressed_model():
    """A DeepFM: float32 and float16 codebooks, and an exact table."""
    tables = {
        "user id": code_table(60),
        "item": code_table(40, 1, codebook_dtype="float16", private_rows=None),
        "country": exact_table(),
    }
    model = mec_tf.models.DeepFM(
        ROWS, embedding_dim=8, hidden_units=(4,), embedding_layer=tables
    )
    model({name: tf.constant([1]) for name in ROWS})
    return model


def counts():
    return {
        f"field_embeddings/tables/{name}": np.arange(rows)[::-1] * 100
        for name, rows in ROWS.items()
    }


@pytest.fixture
def codes():
    return mec_tf.EmbeddingCodes.from_model(compressed_model(), counts())


@pytest.fixture
def file(codes, tmp_path):
    codes.save(tmp_path / "codes.safetensors")
    return tmp_path / "codes.safetensors"


def same(one, other):
    assert one.names == other.names
    for name in one.names:
        ours, theirs = one.table(name), other.table(name)
        assert (ours.kind, ours.config) == (theirs.kind, theirs.config)
        assert ours.weights.keys() == theirs.weights.keys()
        for weight, array in ours.weights.items():
            assert array.dtype == theirs.weights[weight].dtype
            np.testing.assert_array_equal(array, theirs.weights[weight])
        np.testing.assert_array_equal(ours.counts, theirs.counts)


def test_everything_comes_back(codes, file):
    loaded = mec_tf.EmbeddingCodes.load(file)
    same(codes, loaded)
    assert [p.name for p in file.parent.iterdir()] == [file.name]
    model = compressed_model()
    ids = np.array([[0, 3], [4, 99]])
    for name in ROWS:
        layer = model.field_embeddings.tables[name]
        np.testing.assert_array_equal(loaded.vectors(name, ids), layer(ids))
        other = loaded.layer(name)
        assert type(other) is type(layer)
        assert not other.trainable_weights
        np.testing.assert_array_equal(
            loaded.table(name).counts, np.arange(ROWS[name])[::-1] * 100
        )


def test_bytes_are_those_of_the_model(codes):
    counted = model_bytes(compressed_model())
    assert {n: codes.table(n).bytes for n in codes.names} == counted
    assert codes.bytes == sum(counted.values())
    assert codes.full_bytes == 4 * 9 * sum(ROWS.values())
    printed = str(codes)
    assert f"{codes.bytes:,}" in printed and "2 x 16 codes" in printed
    assert "exact" in printed and "field_embeddings/tables/item" in printed


def test_names(codes):
    assert "item" in codes and "field_embeddings/tables/item" in codes
    assert "tables/item" not in codes
    assert codes.table("item") is codes.table("field_embeddings/tables/item")
    with pytest.raises(ValueError, match="`name` must be one of .*'nobody'"):
        codes.layer("nobody")
    item = codes.table("item")
    twice = mec_tf.EmbeddingCodes({"a/item": item, "b/item": item})
    assert "item" not in twice and "a/item" in twice
    with pytest.raises(ValueError, match="only one of them"):
        twice.table("item")


def test_layers_take_overrides_and_learn_where_asked(codes):
    frozen = codes.layer("item", name="mine", mask_zero=True, oov=0)
    assert frozen.name == "mine" and frozen.mask_zero and frozen.oov == 0
    assert frozen.codebook_dtype == "float16"
    learning = codes.layer("item", trainable_codebooks=True)
    assert [tuple(w.shape) for w in learning.trainable_weights] == [(32, 5)]
    ids = np.arange(40)
    np.testing.assert_array_equal(learning(ids), codes.vectors("item", ids))
    assert len(codes.layer("country", True).trainable_weights) == 1
    half = codes.layer("item", dtype="mixed_float16")
    assert half(ids).dtype == tf.float16


def test_layers_do_not_share_their_weights(codes):
    one, other = (codes.layer("country", True) for _ in range(2))
    one.set_weights([np.zeros((5, 9), np.float32)])
    assert np.abs(other(np.arange(5)).numpy()).min() > 0
    assert np.abs(codes.vectors("country", np.arange(5))).min() > 0


def test_keras_embeddings_and_layers_in_training():
    plain = tf.keras.layers.Embedding(7, 3, mask_zero=True)
    plain(np.array([1]))
    table = StoredTable.from_layer(plain)
    assert table.config["mask_zero"] and table.kind == "TableEmbedding"
    ids = np.arange(7)
    np.testing.assert_array_equal(table.layer()(ids), plain(ids))
    training = ProductQuantizedEmbedding(20, 4, 2, 8)
    training(np.array([1]))
    ids = np.arange(20)
    stored = StoredTable.from_layer(training)
    np.testing.assert_array_equal(stored.layer()(ids), training(ids))
    hashed = HashedEmbedding(20, 4, num_rows=6)
    hashed(np.array([1]))
    stored = StoredTable.from_layer(hashed)
    np.testing.assert_array_equal(stored.layer()(ids), hashed(ids))
    with pytest.raises(ValueError, match="`layer` must be built"):
        StoredTable.from_layer(tf.keras.layers.Embedding(7, 3))
    with pytest.raises(ValueError, match=r"`counts` must have shape \(7,\)"):
        StoredTable.from_layer(plain, np.ones(3))


class Doubled(tf.keras.layers.Embedding):
    def call(self, inputs):
        return 2 * super().call(inputs)


def test_layers_with_a_call_of_their_own_are_left_out():
    model = tf.keras.Sequential(
        [tf.keras.Input((2,), dtype="int32"), Doubled(9, 4)]
    )
    assert mec_tf.EmbeddingCodes.from_model(model).names == ()


@pytest.mark.parametrize(
    "values", [[3, 0], [300, 1], [70_000, 2], [0.5, 2.0], [5.0, 1.0]]
)
def test_counts_are_kept_small_and_whole(values):
    layer = TableEmbedding(2, 3)
    layer.build()
    kept = StoredTable.from_layer(layer, np.array(values)).counts
    np.testing.assert_array_equal(kept, values)
    assert kept.itemsize <= 4


def residual_table():
    table = np.random.default_rng(4).normal(size=(40, 9))
    return CodeLookupEmbedding.from_table(
        table, 2, 6, quantizer="residual", additive_dim=1, bit_packed=True
    )


def rotated_table():
    table = np.random.default_rng(5).normal(size=(40, 9))
    return CodeLookupEmbedding.from_table(
        table, 2, 6, quantizer="rotated", rank=2, additive_dim=1
    )


@pytest.mark.parametrize(
    ("make", "words"),
    [(residual_table, "summed, bit-packed"), (rotated_table, "rotated")],
)
def test_other_codes(make, words, tmp_path):
    layer = make()
    table = StoredTable.from_layer(layer)
    assert table.describe().endswith(words)
    assert table.bytes == layer_bytes(layer)
    codes = mec_tf.EmbeddingCodes({"a": table})
    codes.save(tmp_path / "codes")
    loaded = mec_tf.EmbeddingCodes.load(tmp_path / "codes")
    same(codes, loaded)
    ids = np.arange(40)
    np.testing.assert_array_equal(loaded.vectors("a", ids), layer(ids))
    # Three bits hold the codes 6 and 7, which no codebook has.
    wrong = {**table.weights, "codes": table.weights["codes"] | 255}
    with pytest.raises(ValueError, match="codes must be below 6. Received"):
        dataclasses.replace(table, weights=wrong).check()


def test_first_order_columns_come_and_go():
    made = [make() for make in (residual_table, rotated_table, exact_table)]
    for layer in (code_table(60), *made):
        table = StoredTable.from_layer(layer)
        ids = np.arange(5)
        vectors = layer(ids).numpy()
        without = table.with_columns(-1)
        assert without.dim == 8
        assert without.additive_dim == layer.additive_dim - 1
        np.testing.assert_array_equal(without.layer()(ids), vectors[:, :8])
        again = without.with_columns(1).layer()(ids).numpy()
        np.testing.assert_array_equal(again[:, :8], vectors[:, :8])
        np.testing.assert_array_equal(again[:, 8], 0)
        np.testing.assert_array_equal(table.layer()(ids), vectors)
    with pytest.raises(ValueError):
        table.with_columns(-9)


def test_a_file_of_the_first_version_is_still_read():
    """Written by Keras 3 with `codes().save(GOLDEN)`."""
    golden = mec_tf.EmbeddingCodes.load(GOLDEN)
    now = mec_tf.EmbeddingCodes.from_model(compressed_model(), counts())
    assert golden.names == now.names
    for name, rows in ROWS.items():
        ids = np.arange(rows)
        np.testing.assert_array_equal(
            golden.vectors(name, ids), now.vectors(name, ids)
        )
        np.testing.assert_array_equal(
            golden.table(name).counts, now.table(name).counts
        )


def refused(path, words):
    with pytest.raises(mec_tf.ArtifactError, match=words) as caught:
        mec_tf.EmbeddingCodes.load(path)
    assert path.name in str(caught.value)
    assert isinstance(caught.value, ValueError)


def test_truncated_files_are_refused(file):
    whole = file.read_bytes()
    sizes = np.linspace(0, len(whole) - 1, 50).astype(int)
    for size in {*sizes.tolist(), 1, 7, 8, 9}:
        file.write_bytes(whole[:size])
        refused(file, "is damaged")
    file.write_bytes(whole + b"\0")
    refused(file, "is damaged")


def test_flipped_bytes_are_refused(codes, file):
    whole = file.read_bytes()
    rng = np.random.default_rng(0)
    header = 8 + struct.unpack("<Q", whole[:8])[0]
    places = np.append(
        rng.integers(0, header, 100), rng.integers(header, len(whole), 100)
    )
    harmless = 0
    for place in places:
        damaged = bytearray(whole)
        damaged[place] ^= int(rng.integers(1, 256))
        file.write_bytes(damaged)
        try:
            loaded = mec_tf.EmbeddingCodes.load(file)
        except mec_tf.ArtifactError:
            continue
        same(codes, loaded)  # white space of the header
        harmless += 1
    assert harmless <= 2


def test_a_header_that_lies_about_sizes_costs_no_memory(file):
    whole = file.read_bytes()
    for size in (2**63, 2**40, len(whole), 99_000_000):
        file.write_bytes(struct.pack("<Q", size) + whole[8:])
        refused(file, "is damaged")
    big = {"x": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}
    text = json.dumps(big).encode()
    file.write_bytes(struct.pack("<Q", len(text)) + text)
    refused(file, "is damaged")


def test_foreign_files_are_refused(tmp_path):
    path = tmp_path / "other.safetensors"
    save_file({"x": np.zeros(3, np.float32)}, path)
    refused(path, "holds no embedding codes")
    np.savez(tmp_path / "x.npz", x=np.zeros(3))
    refused(tmp_path / "x.npz", "no safetensors file")
    (tmp_path / "text").write_text("a,b\n1,2\n" * 99)
    refused(tmp_path / "text", "no safetensors file")
    refused(tmp_path, "no safetensors file")
    with pytest.raises(FileNotFoundError, match="does not exist"):
        mec_tf.EmbeddingCodes.load(tmp_path / "none")


def forge(path, change):
    """Rewrites a file as somebody would who knows the format."""
    tables = codes_file.read(path)
    codes_file.write(path, change(tables))


def with_config(**config):
    def change(tables):
        name = "field_embeddings/tables/item"
        table = tables[name]
        merged = {**table.config, **config}
        return {**tables, name: dataclasses.replace(table, config=merged)}

    return change


def with_array(weight, array):
    def change(tables):
        name = "field_embeddings/tables/item"
        table = tables[name]
        weights = {**table.weights, weight: array}
        return {**tables, name: dataclasses.replace(table, weights=weights)}

    return change


def with_kind(kind):
    return lambda tables: {
        name: dataclasses.replace(table, kind=kind)
        for name, table in tables.items()
    }


FORGERIES = {
    "rows": (with_config(input_dim=41), "does not fit"),
    "huge": (with_config(input_dim=10**15), "does not fit"),
    "negative": (with_config(input_dim=-1), "`input_dim`"),
    "text": (with_config(input_dim="many"), "does not fit"),
    "width": (with_config(output_dim=13), "does not fit"),
    "codebook": (with_config(codebook_size=17), "does not fit"),
    "no codebook": (with_config(codebook_size=0), "does not fit"),
    "dtype": (with_config(codebook_dtype="float32"), "does not fit"),
    "unknown": (with_config(surprise=1), "does not fit"),
    "import": (
        with_config(
            private_rows={
                "class_name": "Popen", "module": "subprocess", "config": {}
            }
        ),
        "no table layer",
    ),
    "code": (
        with_array("codes", np.full((40, 2), 16, np.uint8)),
        "codes must be below 16. Received a code 16",
    ),
    "wide codes": (
        with_array("codes", np.zeros((40, 2), np.uint16)), "does not fit",
    ),
    "more": (with_array("more", np.zeros(3)), "does not fit"),
    "kind": (with_kind("DeepFM"), "no table layer of mec_tf"),
    "no kind": (with_kind("Nothing"), "no table layer of mec_tf"),
}  # fmt: skip


@pytest.mark.parametrize("name", FORGERIES)
def test_forged_files_are_refused(name, file):
    change, words = FORGERIES[name]
    forge(file, change)
    refused(file, words)


def test_other_versions_and_metadata_are_refused(file):
    arrays = load_file(file)
    for metadata, words in (
        ({"format": codes_file.FORMAT, "version": "2"}, "format version '2'"),
        ({"format": codes_file.FORMAT}, "format version None"),
        ({"format": codes_file.FORMAT, "version": "1"}, "checksum"),
    ):
        save_file(arrays, file, metadata=metadata)
        refused(file, words)
    for settings in ("[]", "{", "7", '[{"name": "x"}]', "[" * 100_000):
        metadata = {
            "format": codes_file.FORMAT,
            "version": codes_file.VERSION,
            "tables": settings,
            "sha256": codes_file.FILE.checksum(settings, arrays),
        }
        save_file(arrays, file, metadata=metadata)
        refused(file, "settings are not|holds arrays of no table")


def test_saving_leaves_nothing_half_written(codes, file):
    with pytest.raises(OSError):
        codes.save(file / "below" / "a" / "file")
    codes.save(file)
    assert [p.name for p in file.parent.iterdir()] == [file.name]
    other = file.with_name("other")
    other.touch()
    assert file.stat().st_mode == other.stat().st_mode
