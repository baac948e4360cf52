"""Deltas: small, exact, and refused where they do not fit."""

import json
import sys

import numpy as np
import pytest
import tensorflow as tf
from safetensors import safe_open
from safetensors.numpy import save_file

import mec_tf
from mec_tf import ArtifactError
from mec_tf.export import delta_file
from mec_tf.export.checksums import file_names
from mec_tf.layers import CodeLookupEmbedding
from mec_tf.layers.variables import raw

ROWS = 4000


def coded(rows=ROWS, seed=0):
    """A functional model of one coded table and one kernel."""
    rng = np.random.default_rng(seed)
    table = CodeLookupEmbedding.from_codes(
        rng.integers(0, 256, (ROWS, 2)), rng.normal(size=(2, 256, 4))
    )
    if rows > ROWS:
        more = rng.integers(0, 256, (rows - ROWS, 2))
        codes = np.concatenate([table.row_codes(), more])
        books = raw(table.codebooks).numpy().reshape(2, 256, 4)
        table = CodeLookupEmbedding.from_codes(codes, books, name="table")
    ids = tf.keras.Input((), dtype="int32", name="ids")
    dense = tf.keras.layers.Dense(1, name="score")
    model = tf.keras.Model(ids, dense(table(ids)))
    dense.set_weights([np.ones((8, 1)), np.zeros(1)])
    return model, table


def change_codes(table, rows):
    codes = raw(table.codes).numpy()
    codes[rows] += 1
    raw(table.codes).assign(codes)


def contents(folder):
    return {name: (folder / name).read_bytes() for name in file_names(folder)}


def answers(path, rows=ROWS):
    signature = tf.saved_model.load(str(path)).signatures["ids"]
    return signature(ids=tf.range(rows, dtype=tf.int32))["logits"].numpy()


@pytest.fixture
def pair(tmp_path):
    """Two exports of one model: some codes, a codebook entry, a kernel."""
    model, table = coded()
    mec_tf.export.save(model, tmp_path / "1")
    change_codes(table, [5, 17, ROWS - 1])
    books = raw(table.codebooks).numpy()
    books[300] = 0.5
    raw(table.codebooks).assign(books)
    model.get_layer("score").set_weights([np.full((8, 1), 2.0), np.ones(1)])
    mec_tf.export.save(model, tmp_path / "2")
    return tmp_path / "1", tmp_path / "2"


def test_reassembly_is_exact(tmp_path, pair):
    base, new = pair
    report = mec_tf.export.save_delta(base, new, tmp_path / "d.safetensors")
    mec_tf.export.apply_delta(base, report.path, tmp_path / "3")
    assert contents(tmp_path / "3") == contents(new)
    np.testing.assert_array_equal(answers(tmp_path / "3"), answers(new))
    assert (answers(base) != answers(new)).all()
    for variable in mec_tf.export.inspect_saved_model(new).variables:
        found, expected = (
            tf.train.load_checkpoint(str(path / "variables/variables"))
            for path in (tmp_path / "3", new)
        )
        np.testing.assert_array_equal(
            found.get_tensor(variable.key), expected.get_tensor(variable.key)
        )


def test_only_changes_are_carried(tmp_path, pair):
    base, new = pair
    report = mec_tf.export.save_delta(base, new, tmp_path / "d.safetensors")
    sizes = {n.split("/")[-1]: size for n, size in report.variables.items()}
    assert sizes == {
        "codes": 3 * (4 + 2),
        "codebooks": 4 + 16,
        "kernel": 32,
        "bias": 4,
    }
    assert report.bytes_total == (tmp_path / "d.safetensors").stat().st_size
    assert report.new_bytes == sum(map(len, contents(new).values()))
    assert "variables/variables.data-00000-of-00001" not in report.files
    assert "variables/variables.index" in report.files
    assert all(name in str(report) for name in report.variables)


@pytest.mark.parametrize(
    "rows, size",
    [
        (np.arange(0, ROWS, 40), 100 * (4 + 2)),
        (np.arange(0, ROWS, 4), ROWS // 8 + 1000 * 2),
        (np.arange(ROWS), ROWS * 2),
    ],
    ids=["places", "mask", "whole"],
)
def test_the_smallest_form_is_taken(tmp_path, rows, size):
    model, table = coded()
    mec_tf.export.save(model, tmp_path / "1", warmup=())
    change_codes(table, rows)
    mec_tf.export.save(model, tmp_path / "2", warmup=())
    delta = tmp_path / "d"
    report = mec_tf.export.save_delta(tmp_path / "1", tmp_path / "2", delta)
    assert list(report.variables.values()) == [size]
    mec_tf.export.apply_delta(tmp_path / "1", delta, tmp_path / "3")
    assert contents(tmp_path / "3") == contents(tmp_path / "2")


def test_added_rows_and_vocabularies(tmp_path):
    def vocabulary(rows):
        values = [f"u{i}" for i in range(rows - 1)]
        return {"ids": mec_tf.data.Vocabulary(values, [0] * rows)}

    for place, rows in enumerate((ROWS, ROWS + 50), 1):
        model, _ = coded(rows)
        mec_tf.export.save(
            model, tmp_path / str(place), vocabularies=vocabulary(rows)
        )
    delta = tmp_path / "d"
    report = mec_tf.export.save_delta(tmp_path / "1", tmp_path / "2", delta)
    codes = [n for n in report.variables if n.endswith("codes")]
    assert report.variables[codes[0]] in (50 * 2, (ROWS + 50) * 2)
    assert any(name.startswith("assets/vocabulary") for name in report.files)
    mec_tf.export.apply_delta(tmp_path / "1", delta, tmp_path / "3")
    assert contents(tmp_path / "3") == contents(tmp_path / "2")
    found = answers(tmp_path / "3", ROWS + 50)
    np.testing.assert_array_equal(found, answers(tmp_path / "2", ROWS + 50))


def test_nothing_changed(tmp_path, pair):
    base, _ = pair
    report = mec_tf.export.save_delta(base, base, tmp_path / "d")
    assert not report.variables and not report.files
    mec_tf.export.apply_delta(base, tmp_path / "d", tmp_path / "3")
    assert contents(tmp_path / "3") == contents(base)


def test_wrong_base(tmp_path, pair):
    base, new = pair
    mec_tf.export.save_delta(base, new, tmp_path / "d")
    with pytest.raises(ValueError, match="`base` must be the SavedModel"):
        mec_tf.export.apply_delta(new, tmp_path / "d", tmp_path / "3")
    (base / "variables" / "variables.index").unlink()
    with pytest.raises(ValueError, match="`base` must be the SavedModel"):
        mec_tf.export.apply_delta(base, tmp_path / "d", tmp_path / "3")
    for missing in (tmp_path / "none", tmp_path):
        with pytest.raises(FileNotFoundError, match="No SavedModel"):
            mec_tf.export.apply_delta(missing, tmp_path / "d", tmp_path / "3")
    assert not (tmp_path / "3").exists()


def test_targets_that_exist(tmp_path, pair):
    base, new = pair
    mec_tf.export.save_delta(base, new, tmp_path / "d")
    with pytest.raises(FileExistsError, match="`path` must be new"):
        mec_tf.export.save_delta(base, new, tmp_path / "d")
    before = contents(base)
    with pytest.raises(FileExistsError, match="`path` must be"):
        mec_tf.export.apply_delta(base, tmp_path / "d", base)
    assert contents(base) == before
    expected = contents(new)
    mec_tf.export.apply_delta(base, tmp_path / "d", base, overwrite=True)
    assert contents(base) == expected
    assert not list(tmp_path.glob("*.partial")) + list(tmp_path.glob("*.fresh"))


def test_damaged_deltas(tmp_path, pair):
    base, new = pair
    mec_tf.export.save_delta(base, new, tmp_path / "d")
    intact = (tmp_path / "d").read_bytes()
    rng = np.random.default_rng(0)
    places = rng.integers(0, len(intact), 20)
    damaged = [intact[:place] for place in places]
    for place in places:
        flipped = bytearray(intact)
        flipped[place] ^= 0x10
        damaged.append(bytes(flipped))
    for content in [b"", b"text", *damaged]:
        (tmp_path / "bad").write_bytes(content)
        with pytest.raises(ArtifactError, match="bad: "):
            mec_tf.export.apply_delta(base, tmp_path / "bad", tmp_path / "3")
    assert not (tmp_path / "3").exists()
    with pytest.raises(FileNotFoundError, match="`delta`"):
        mec_tf.export.apply_delta(base, tmp_path / "no", tmp_path / "3")


def forge(source, target, change):
    """A delta with another recipe and a checksum that agrees."""
    delta = delta_file.read(source)
    change(delta)
    delta_file.write(target, delta)


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.files.update({"../evil": d.files["saved_model.pb"]}),
        lambda d: d.files.update({"/evil": d.files["saved_model.pb"]}),
        lambda d: d.files["saved_model.pb"].pop("parts"),
        lambda d: d.files["saved_model.pb"].update(parts=[{"data": "no"}]),
        lambda d: d.files["saved_model.pb"].update(parts=[]),
        lambda d: d.files["saved_model.pb"].update(
            parts=[{"copy": ["../d", 0, 9]}]
        ),
        lambda d: d.files["saved_model.pb"].update(
            parts=[{"copy": ["saved_model.pb", 0, 10**15]}]
        ),
        lambda d: d.files.update({"x": 3}),
    ],
    ids=range(8),
)
def test_forged_recipes(tmp_path, pair, change):
    base, new = pair
    mec_tf.export.save_delta(base, new, tmp_path / "d")
    forge(tmp_path / "d", tmp_path / "bad", change)
    with pytest.raises(ArtifactError, match="bad: "):
        mec_tf.export.apply_delta(base, tmp_path / "bad", tmp_path / "3" / "4")
    assert not (tmp_path / "3").exists()
    assert not (tmp_path / "evil").exists()


def test_foreign_safetensors(tmp_path, pair):
    base, new = pair
    save_file({"x": np.ones(2)}, tmp_path / "other")
    with pytest.raises(ArtifactError, match="holds no delta"):
        mec_tf.export.apply_delta(base, tmp_path / "other", tmp_path / "3")
    mec_tf.export.save_delta(base, new, tmp_path / "d")
    with safe_open(tmp_path / "d", framework="np") as file:
        metadata = file.metadata()
    assert (
        json.loads(metadata["recipe"])["base"].keys() == contents(base).keys()
    )
    save_file({}, tmp_path / "later", metadata={**metadata, "version": "2"})
    with pytest.raises(ArtifactError, match="version '2'"):
        mec_tf.export.apply_delta(base, tmp_path / "later", tmp_path / "3")


def test_variables_in_an_unknown_order_are_carried_whole(
    tmp_path, pair, monkeypatch
):
    module = sys.modules["mec_tf.export.save_delta"]
    base, new = pair
    monkeypatch.setattr(module, "variable_layout", lambda folder: None)
    report = module.save_delta(base, new, tmp_path / "d")
    assert "variables/variables.data-00000-of-00001" in report.files
    mec_tf.export.apply_delta(base, tmp_path / "d", tmp_path / "3")
    assert contents(tmp_path / "3") == contents(new)


@pytest.mark.parametrize("which", [0, 1])
def test_damaged_exports_make_no_delta(tmp_path, pair, which):
    file = pair[which] / "variables" / "variables.data-00000-of-00001"
    content = bytearray(file.read_bytes())
    content[100] ^= 1
    file.write_bytes(content)
    with pytest.raises(ArtifactError, match="is damaged"):
        mec_tf.export.save_delta(*pair, tmp_path / "d")
    assert not (tmp_path / "d").exists()
