"""`.keras` files: whole, intact and harmless, or refused."""

import io
import json
import shutil
import zipfile

import h5py
import numpy as np
import pytest
import tensorflow as tf

import mec_tf
from mec_tf.cli import main as cli
from mec_tf.export import load_keras, save_keras
from mec_tf.layers import CodeLookupEmbedding

WEIGHTS = "model.weights.h5"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    rng = np.random.default_rng(0)
    table = CodeLookupEmbedding.from_codes(
        rng.integers(0, 16, (60, 2)), rng.normal(size=(2, 16, 4))
    )
    ids = tf.keras.Input((), dtype="int32")
    middle = tf.keras.layers.Dense(4)(table(ids))
    model = tf.keras.Model(ids, tf.keras.layers.Dense(1)(middle))
    model.compile("adam", "mse")
    model.fit(np.arange(8), np.zeros((8, 1)), verbose=0)
    path = tmp_path_factory.mktemp("made") / "m.keras"
    save_keras(model, path)
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    return path, model


@pytest.fixture
def saved(made, tmp_path):
    return shutil.copy(made[0], tmp_path / "m.keras"), made[1]


def forge(path, member, change):
    """Rewrites one member, with a checksum that agrees."""
    with zipfile.ZipFile(path) as archive:
        held = {name: archive.read(name) for name in archive.namelist()}
    held[member] = change(held[member])
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in held.items():
            archive.writestr(name, content)


def refused(path, words):
    with pytest.raises(mec_tf.ArtifactError, match=words) as caught:
        load_keras(path)
    assert path.name in str(caught.value)


def test_what_was_saved_comes_back(saved):
    path, model = saved
    for loaded in (load_keras(path), tf.keras.models.load_model(path)):
        ids = np.arange(60)
        np.testing.assert_array_equal(loaded(ids), model(ids))
        assert loaded.optimizer is not None
    plain = load_keras(path, compile=False)
    assert getattr(plain, "optimizer", None) is None
    with pytest.raises(ValueError, match='`path` must end in ".keras"'):
        save_keras(model, path.with_suffix(".h5"))
    with pytest.raises(FileNotFoundError, match="does not exist"):
        load_keras(path.with_name("none.keras"))


def test_damaged_and_foreign_files(saved, capsys):
    path, _ = saved
    whole = path.read_bytes()
    middle = bytearray(whole)
    middle[len(whole) // 2] ^= 1
    png = b"\x89PNG\r\n\x1a\n" + bytes(99)
    for content in (b"", b"text", png, whole[:-1], whole[:999], middle):
        path.write_bytes(content)
        refused(path, "is damaged or no model")
    assert cli.main(cli._parse(["mec-tf", "inspect", str(path)])) == 2
    assert "is damaged" in capsys.readouterr().err
    empty = io.BytesIO()
    zipfile.ZipFile(empty, "w").close()
    path.write_bytes(empty.getvalue())
    refused(path, "config.json")


@pytest.mark.parametrize("rows", [2**28, 2**62])
@pytest.mark.parametrize("key", ["input_dim", "units"])
def test_sizes_that_layers_claim_cost_no_memory(saved, key, rows):
    path, _ = saved

    def change(text):
        old = {"input_dim": '"input_dim": 60', "units": '"units": 4'}[key]
        assert old.encode() in text
        return text.replace(old.encode(), f'"{key}": {rows}'.encode())

    forge(path, "config.json", change)
    refused(path, "claim more weights|is damaged")


def test_sizes_that_weights_claim_cost_no_memory(saved):
    path, _ = saved

    def change(content):
        file = io.BytesIO(content)
        with h5py.File(file, "r+") as weights:
            weights.create_dataset("more", (2**40,), "f4", chunks=(2**20,))
        return file.getvalue()

    forge(path, WEIGHTS, change)
    refused(path, "weights claim 4,398,")


@pytest.mark.parametrize("kind", ["link", "external"])
def test_weights_of_other_files_are_not_read(saved, tmp_path, kind):
    path, _ = saved
    (tmp_path / "secret").write_bytes(bytes(64))

    def change(content):
        file = io.BytesIO(content)
        with h5py.File(file, "r+") as weights:
            if kind == "link":
                weights["more"] = h5py.ExternalLink("/tmp/x.h5", "/x")
            else:
                weights.create_dataset(
                    "more", (8,), "f4",
                    external=[(str(tmp_path / "secret"), 0, 32)],
                )  # fmt: skip
        return file.getvalue()

    forge(path, WEIGHTS, change)
    refused(path, "are a link|are in another file")


def test_nothing_is_imported_or_run(saved, tmp_path):
    path, _ = saved
    proof = tmp_path / "proof"
    (tmp_path / "mec_tf_payload.py").write_text(
        f"import pathlib\npathlib.Path({str(proof)!r}).touch()\nclass X: pass\n"
    )

    def change(text):
        config = json.loads(text)
        layer = config["config"]["layers"][-1]
        layer.update(
            module="mec_tf_payload", class_name="X", registered_name=None
        )
        return json.dumps(config).encode()

    forge(path, "config.json", change)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(tmp_path)
        refused(path, "mec_tf_payload.X is not registered")
    assert not proof.exists()


@pytest.mark.parametrize("what", ["7", '["x"]', "name"])
def test_what_holds_no_model_is_refused(saved, what):
    path, _ = saved

    def change(text):
        if what != "name":
            return what.encode()
        config = json.loads(text)
        config["config"]["layers"][0]["config"]["name"] = 7
        return json.dumps(config).encode()

    forge(path, "config.json", change)
    refused(path, "no model to load")


@pytest.mark.parametrize("name", ["input", "eval", "exec", "print"])
def test_builtin_functions_are_refused(saved, name):
    path, _ = saved

    def change(text):
        config = json.loads(text)
        config["config"]["layers"][-1]["config"]["activation"] = {
            "module": "builtins", "class_name": "function",
            "config": name, "registered_name": "function",
        }  # fmt: skip
        return json.dumps(config).encode()

    forge(path, "config.json", change)
    refused(path, "is not registered")


@pytest.mark.keras2_only
@pytest.mark.parametrize("place", [1, -1, 10**6, 0.5, "x", None])
def test_layers_that_wait_for_ever_are_refused(saved, place):
    path, _ = saved

    def change(text):
        config = json.loads(text)
        config["config"]["layers"][-1]["inbound_nodes"][0][0][1] = place
        return json.dumps(config).encode()

    forge(path, "config.json", change)
    refused(path, "wait for each other")


def test_graphs_of_many_kinds_are_loaded(tmp_path):
    path = tmp_path / "m.keras"
    dense = tf.keras.layers.Dense(3)
    a, b = tf.keras.Input((3,)), tf.keras.Input((3,), name="b")
    inner = tf.keras.Model(a, [dense(a), dense(dense(a))])
    chain = tf.keras.Sequential([tf.keras.layers.Dense(3, "relu")])
    other = tf.keras.layers.Dense(3)
    begun = tf.keras.Sequential([tf.keras.Input((3,)), other])
    one, two = inner(b)
    three = chain(begun(tf.keras.layers.Add()([one, two])))
    four, _ = inner(tf.keras.layers.Concatenate()([three, b])[:, :3])
    attended = tf.keras.layers.Attention()(
        [three[:, None], four[:, None]], return_attention_scores=False
    )
    model = tf.keras.Model({"b": b}, {"x": attended, "y": chain(begun(four))})
    batch = {"b": np.random.default_rng(0).normal(size=(5, 3))}
    expected = model(batch)
    save_keras(model, path)
    found = load_keras(path)(batch)
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values)


def test_lambda_layers_are_refused(tmp_path):
    proof = tmp_path / "proof"
    inputs = tf.keras.Input((1,))
    layer = tf.keras.layers.Lambda(lambda x, p=str(proof): open(p, "w") and x)
    tf.keras.Model(inputs, layer(inputs)).save(tmp_path / "m.keras")
    proof.unlink(missing_ok=True)
    refused(tmp_path / "m.keras", "(?i)lambda")
    with pytest.raises(ValueError, match="(?i)lambda"):
        tf.keras.models.load_model(tmp_path / "m.keras")
    assert not proof.exists()


def test_features_may_have_any_name(tmp_path):
    """Their numbers of rows stand in the configuration by name."""
    features = {"name": 9, "module": 9, "class_name": 9}
    model = mec_tf.models.DeepFM(features, embedding_dim=4, hidden_units=(2,))
    batch = {name: np.arange(9) for name in features}
    answer = model(batch)
    save_keras(model, tmp_path / "m.keras")
    loaded = load_keras(tmp_path / "m.keras")
    np.testing.assert_array_equal(loaded(batch), answer)


def cubed(x):
    return x * x * x


def test_functions_of_the_caller_are_loaded(tmp_path):
    path = tmp_path / "m.keras"
    inputs = tf.keras.Input((1,))
    layer = tf.keras.layers.Activation(cubed)
    save_keras(tf.keras.Model(inputs, layer(inputs)), path)
    model = load_keras(path, {"cubed": cubed})
    np.testing.assert_array_equal(model(np.full((1, 1), 2.0)), [[8]])
    with pytest.raises(mec_tf.ArtifactError, match="cubed"):
        load_keras(path)


class Twice(tf.keras.layers.Layer):
    def call(self, inputs):
        return 2 * inputs


def test_classes_of_the_caller_are_loaded(tmp_path):
    path = tmp_path / "m.keras"
    inputs = tf.keras.Input((1,))
    save_keras(tf.keras.Model(inputs, Twice()(inputs)), path)
    refused(path, "Twice is not registered")
    model = load_keras(path, {"Twice": Twice})
    np.testing.assert_array_equal(model(np.ones((1, 1))), [[2]])
