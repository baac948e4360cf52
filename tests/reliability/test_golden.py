"""Files of the first released format are read, to the last bit.

`benchmarks/reliability/make_golden.py` wrote them, once.
"""

import pathlib

import numpy as np
import pytest
import tensorflow as tf

import mec_tf
from benchmarks.reliability import make_golden
from benchmarks.reliability.make_golden import IDS, KERAS
from mec_tf.compression import DriftReport, TierDrift

GOLDEN = pathlib.Path(__file__).parent / "golden"


@pytest.fixture(scope="module")
def expected():
    with np.load(GOLDEN / "expected.npz", allow_pickle=False) as saved:
        return dict(saved)


def answers(path):
    """Of the ids that both signatures of a golden SavedModel take."""
    loaded = tf.saved_model.load(str(path))
    ids = tf.constant(IDS[2:-3])
    found = [loaded.signatures[n](ids=ids) for n in ("ids", "serving_default")]
    np.testing.assert_array_equal(*(f["logits"] for f in found))
    return found[0]["logits"]


def test_they_are_small():
    sizes = [f.stat().st_size for f in GOLDEN.rglob("*") if f.is_file()]
    assert max(sizes) < 100_000 and sum(sizes) < 500_000


@pytest.mark.parametrize(
    "load", [mec_tf.export.load_keras, tf.keras.models.load_model]
)
def test_keras_files(expected, load):
    found = load(GOLDEN / f"tables_{KERAS}.keras")(IDS)
    assert len(found) == 13
    for name, vectors in found.items():
        np.testing.assert_array_equal(vectors, expected[f"table_{name}"])
    model = load(GOLDEN / f"deepfm_{KERAS}.keras")
    logits = np.load(GOLDEN / f"deepfm_{KERAS}.npy")
    np.testing.assert_array_equal(model(make_golden.batch()), logits)
    assert np.ptp(logits) > 1


def test_checkpoints(expected):
    made = make_golden.tables()
    for layer in made.values():
        make_golden.fill(layer, 1000)  # other values
    checkpoint = make_golden.checkpoint(made)
    restored = checkpoint.read(str(GOLDEN / f"tables_{KERAS}"))
    restored.assert_existing_objects_matched().assert_consumed()
    for name, layer in made.items():
        np.testing.assert_array_equal(layer(IDS), expected[f"table_{name}"])


def test_codes(expected):
    codes = mec_tf.EmbeddingCodes.load(GOLDEN / "codes.safetensors")
    assert len(codes.names) == 10
    for name in codes.names:
        np.testing.assert_array_equal(
            codes.vectors(name, IDS), expected[f"table_{name}"]
        )
        np.testing.assert_array_equal(
            codes.table(name).counts, np.arange(make_golden.ROWS)[::-1]
        )


def test_saved_models_and_deltas(expected, tmp_path):
    contents = mec_tf.export.inspect_saved_model(GOLDEN / "serving")
    assert [table.rows for table in contents.tables] == [make_golden.ROWS]
    np.testing.assert_array_equal(
        answers(GOLDEN / "serving"), expected["served"]
    )
    mec_tf.export.apply_delta(
        GOLDEN / "serving", GOLDEN / "delta.safetensors", tmp_path / "2"
    )
    mec_tf.export.inspect_saved_model(tmp_path / "2")
    np.testing.assert_array_equal(
        answers(tmp_path / "2"), expected["served_after_delta"]
    )


def test_drift_reports():
    tiers = {"rare": TierDrift(0.25, 100, 0.75, 0.125, 0.5)}
    assert DriftReport.load(GOLDEN / "drift.json") == DriftReport(
        0.75, 100, {"user": tiers}
    )
