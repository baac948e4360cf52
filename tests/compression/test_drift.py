"""Reports on recent data."""

import json

import numpy as np
import pytest
import tensorflow as tf

from mec_tf.compression import ArtifactError, DriftReport, drift_report
from mec_tf.compression.drift import auc_error
from mec_tf.layers import CodeLookupEmbedding
from mec_tf.training import rank_auc

ROWS = 30
COUNTS = np.r_[0, 1000 // np.arange(1, ROWS)]
TABLE = np.random.default_rng(0).normal(size=(ROWS, 4)).astype("float32")


class Scorer(tf.keras.Model):
    """Scores an example by a feature; holds a table."""

    def __init__(self):
        super().__init__()
        self.item = CodeLookupEmbedding.from_table(TABLE, 2, 4)

    def call(self, inputs, training=False):
        self.item(inputs["item"])
        return inputs["score"][:, None]


def examples(noise, size=6000, unknown=0.0, seed=0):
    """Items by popularity, labels that scores know but for some noise."""
    rng = np.random.default_rng(seed)
    item = rng.choice(ROWS, size, p=COUNTS / COUNTS.sum())
    item[rng.random(size) < unknown] = 0
    label = rng.integers(0, 2, size).astype("float32")
    spread = noise[np.minimum(item // 10, 2)]
    score = label + spread * rng.normal(size=size)
    return {"item": item, "score": score.astype("float32")}, label


CALM = np.array([0.5, 0.5, 0.5])


def report(*args, rows=None, **kwargs):
    data = tf.data.Dataset.from_tensor_slices(examples(*args, **kwargs))
    full_rows = None if rows is None else {"item": rows}
    return drift_report(
        Scorer(), data.batch(500), {"item": COUNTS}, full_rows=full_rows
    )


def test_tiers_of_a_feature():
    (features, label) = examples(CALM, unknown=0.2)
    features["item"][:50] = ROWS + 3  # out of range
    data = tf.data.Dataset.from_tensor_slices((features, label)).batch(500)
    found = drift_report(
        Scorer(), data, {"item": COUNTS}, full_rows={"item": TABLE}
    )
    assert found.examples == 6000
    np.testing.assert_allclose(found.auc, rank_auc(label, features["score"]))
    tiers = found.features["item"]
    assert list(tiers) == ["popular", "middle", "rare", "unknown"]
    assert sum(t.examples for t in tiers.values()) == 6000
    item = features["item"]
    outside = (item == 0) | (item >= ROWS)
    np.testing.assert_allclose(tiers["unknown"].share, outside.mean())
    top = item == 1  # a quarter of all lookups: part of the first third
    assert tiers["popular"].examples >= top.sum()
    layer = Scorer().item
    errors = np.square(layer(np.arange(ROWS)).numpy() - TABLE).sum(axis=1)
    norms = np.square(TABLE).sum(axis=1)
    kept = item[~outside]
    weighted = sum(
        tiers[t].distortion * norms[kept][members].sum()
        for t, members in tier_members(kept).items()
    )
    np.testing.assert_allclose(weighted, errors[kept].sum(), rtol=1e-5)
    assert "unknown" in str(found)


def tier_members(items):
    from mec_tf.training.popularity_tiers import TIERS, popularity_tiers

    tiers = popularity_tiers(COUNTS)[items]
    return {name: tiers == place for place, name in enumerate(TIERS)}


def test_standard_error_is_that_of_repeated_draws():
    rng = np.random.default_rng(0)
    labels = np.repeat([1.0, 0.0], [40, 60])
    aucs = [
        rank_auc(labels, labels + rng.normal(size=100)) for _ in range(2000)
    ]
    expected = auc_error(float(np.mean(aucs)), 40, 60)
    np.testing.assert_allclose(np.std(aucs), expected, rtol=0.1)


def test_says_what_pays_and_why():
    reference = report(CALM)
    assert report(CALM, seed=1).reasons(reference) == []
    (reason,) = report(np.array([0.5, 0.5, 3.0]), seed=1).reasons(reference)
    assert "Re-learn" in reason and "rare rows of item" in reason
    (reason,) = report(CALM, seed=1, unknown=0.1).reasons(reference)
    assert reason.startswith("Add rows to item")
    lenient = report(CALM, seed=1, unknown=0.1)
    assert lenient.reasons(reference, max_unknown_rise=0.2) == []


def test_distortion_tells_too():
    reference = report(CALM, rows=TABLE)
    assert report(CALM, rows=TABLE).reasons(reference) == []
    moved = TABLE.copy()
    moved[1] += 2.0  # the most popular
    recent = report(CALM, rows=moved)
    (reason,) = recent.reasons(reference)
    assert "distortion of popular rows of item rose" in reason
    assert recent.reasons(reference, max_distortion_rise=9.0) == []
    assert recent.reasons(report(CALM)) == []  # not measured then
    few = report(CALM, rows=moved, size=2000)
    assert few.reasons(reference) == []


def test_saved_and_loaded(tmp_path):
    found = report(CALM)
    path = tmp_path / "drift.json"
    found.save(path)
    assert DriftReport.load(path) == found
    assert [p.name for p in tmp_path.iterdir()] == ["drift.json"]
    for text in ("{", "[]", json.dumps({"format": "x", "version": 1})):
        path.write_text(text)
        with pytest.raises(ArtifactError, match="drift report"):
            DriftReport.load(path)


def test_bad_arguments_are_refused():
    data = tf.data.Dataset.from_tensor_slices(examples(CALM)).batch(500)
    with pytest.raises(ValueError, match="Received: shop"):
        drift_report(Scorer(), data, {"shop": COUNTS})
    with pytest.raises(ValueError, match="no data"):
        drift_report(Scorer(), data.take(0), {"item": COUNTS})
    with pytest.raises(ValueError, match="`full_rows`"):
        drift_report(
            Scorer(), data, {"item": COUNTS}, full_rows={"item": TABLE[1:]}
        )
    with pytest.raises(ValueError, match="one id an example"):
        wide = data.map(lambda x, y: ({**x, "item": tf.zeros([500, 2])}, y))
        drift_report(Scorer(), wide, {"item": COUNTS})
