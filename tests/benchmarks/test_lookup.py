import numpy as np
import pytest
import tensorflow as tf

from benchmarks import lookup


def test_rows_of_the_result():
    rows = lookup.measure(
        60, 4, [2], 3, ["uniform", "zipf"], ["graph", "xla"], rounds=1
    )
    # One table: 3 layers; three tables: 5; twice the ids, twice the modes.
    assert len(rows) == (3 + 5) * 4
    assert {(r["layer"], r["tables"]) for r in rows} >= {
        ("Embedding", 1),
        ("CodeLookupEmbedding", 1),
        ("CodeLookupEmbedding, fused", 3),
    }
    for row in rows:
        assert row["lookups_per_second"] > 0 and row["ratio"] > 0
        assert row["layer"] != "Embedding" or row["ratio"] == 1


def test_fused_layers_answer_as_the_separate_ones():
    looks = lookup.many_tables(60, 4, 3)
    ids = tf.constant([[0, 1, 19], [5, 5, 5]])
    for name in ("TableEmbedding", "CodeLookupEmbedding"):
        np.testing.assert_array_equal(
            looks[name](ids), looks[f"{name}, fused"](ids)
        )


@pytest.mark.parametrize("kind", ["uniform", "zipf"])
def test_ids_are_in_range(kind):
    rng = np.random.default_rng(0)
    ids = lookup.draw_ids(kind, 50, (1000, 3), rng)
    assert ids.shape == (1000, 3) and ids.dtype == np.int32
    assert ids.min() == 0 and ids.max() < 50
    assert (np.mean(ids == 0) > 0.1) == (kind == "zipf")
