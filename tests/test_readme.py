"""The README's example runs as printed."""

import pathlib
import re

import numpy as np
import tensorflow as tf

README = pathlib.Path(__file__).parents[1] / "README.md"


def user_model():
    """A model as a user has it: an id, an embedding, a probability's logit."""
    ids = tf.keras.Input((), dtype="int32", name="user")
    vectors = tf.keras.layers.Embedding(1000, 32)(ids)
    model = tf.keras.Model({"user": ids}, tf.keras.layers.Dense(1)(vectors))
    loss = tf.keras.losses.BinaryCrossentropy(from_logits=True)
    model.compile("adam", loss)
    return model


def test_ten_lines(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = re.search(
        r"<!-- tested -->\n```python\n(.*?)```", README.read_text(), re.S
    )
    rng = np.random.default_rng(0)
    ids = rng.integers(0, 1000, 4000).astype(np.int32)
    labels = rng.integers(0, 2, (4000, 1)).astype(np.float32)
    data = tf.data.Dataset.from_tensor_slices(({"user": ids}, labels))
    data = data.batch(500)
    model = user_model()
    model.fit(data, verbose=0)
    names = {"model": model, "train": data, "valid": data}
    exec(code.group(1), names)
    assert names["result"].report.ratio >= 20
    loaded = tf.keras.models.load_model("small.keras")
    inputs = {"user": tf.constant(ids[:8])}
    expected = names["result"].model(inputs)
    np.testing.assert_array_equal(loaded(inputs), expected)
    served = tf.saved_model.load("serving/1").signatures["ids"](**inputs)
    np.testing.assert_allclose(
        served["probability"], tf.sigmoid(expected), atol=1e-6
    )
