import numpy as np
import pytest
import tensorflow as tf

from benchmarks import serving

SETUP = serving.Setup(
    fields=3,
    table_bytes=20_000,
    dim=4,
    hidden=(4,),
    layouts=("product:2x16", "residual:2x16"),
    batches=(1, 4),
    rounds=1,
    seconds=0.02,
)


def test_rows_of_the_result(program, tmp_path):
    rows = serving.measure("dcnv2", SETUP, program, tmp_path)
    assert [(row["batch"], row["variant"]) for row in rows] == [
        (size, variant) for size in (1, 4) for variant in serving.VARIANTS
    ]
    for row in rows:
        assert row["model"] == "dcnv2" and row["rows"] == 20_000 // (4 * 4 * 3)
        assert 0 < row["p50_us"] <= row["p99_us"]
        assert row["ratio"] > 0 and row["ratio_to_fused"] > 0
        assert isinstance(row["resident_bytes"], int)
        assert row["variant"] != "Embedding" or row["ratio"] == 1
        assert row["variant"] != "full, fused" or row["ratio_to_fused"] == 1


def test_ratios_are_of_medians():
    setup = serving.Setup(batches=(1,))

    def answers(*latencies):
        return {
            1: [
                {
                    "p50_us": p50,
                    "p99_us": 2 * p50,
                    "per_second": 5,
                    "resident_bytes": 100 * p50,
                }
                for p50 in latencies
            ]
        }

    found = {
        "empty": answers(1, 1, 1),
        "Embedding": answers(8, 10, 99),
        "full, fused": answers(4, 5, 6),
        "compressed": answers(20, 20, 1),
        "compressed, fused": answers(2, 2, 2),
        "compressed, folded": answers(1, 1, 1),
    }
    rows = {r["variant"]: r for r in serving.results("deepfm", setup, found)}
    assert [row["ratio"] for row in rows.values()] == [1, 0.5, 2, 0.2, 0.1, 0.1]
    assert rows["empty"]["resident_bytes"] == 0
    assert rows["compressed, fused"]["ratio_to_fused"] == 0.4
    assert rows["Embedding"]["resident_bytes"] == 900
    assert rows["Embedding"]["p99_us"] == 20


@pytest.mark.parametrize("name", serving.MODELS)
def test_variants_differ_in_tables_only(name):
    ids = {n: tf.constant([0, 1]) for n in SETUP.names}
    shapes = set()
    for variant in serving.VARIANTS[:3]:
        model = serving.make_model(name, variant, SETUP)
        assert np.isfinite(model(ids)).all()
        tables = {id(w) for w in model.field_embeddings.weights}
        dense = [w for w in model.weights if id(w) not in tables]
        shapes.add(tuple(tuple(w.shape) for w in dense))
    assert len(shapes) == 1


def test_unknown_layouts():
    with pytest.raises(ValueError, match="`layouts` must be"):
        serving.codes("exact:1x1", 3, 4, 0, seed=0)
