"""Few of the cases of `benchmarks.reliability.numerics`."""

import numpy as np
import pytest

from benchmarks.reliability import numerics
from mec_tf.layers import (
    CodeLookupEmbedding,
    IntegerEmbedding,
    LowRankEmbedding,
    TableEmbedding,
)

SMALL = ("product, 1 column a code", "rotated 4 x 256", "residual 2 x 256")


@pytest.mark.parametrize("kind", numerics.KINDS)
def test_any_magnitude_is_encoded_as_in_float64(kind, monkeypatch):
    monkeypatch.setattr(numerics, "FIT_ROWS", 400)
    for layout in ("product 8 x 16", "residual 2 x 256"):
        encoded = numerics.Encoded(layout, kind, 600, seed=0)
        row = numerics.held({"check": "encode", **encoded.row()})
        assert row["rows"] == 600


@pytest.mark.parametrize("layout", SMALL)
def test_every_way_of_running_finds_the_same_codes(layout, monkeypatch):
    monkeypatch.setattr(numerics, "FIT_ROWS", 400)
    encoded = numerics.Encoded(layout, "normal", 2000, seed=0)
    numerics.held({"check": "encode", **encoded.row()})
    for row in encoded.agreement():
        assert row["differing"] == 0, row


def test_ties():
    assert numerics.ties_row(5, seed=0)["wrong"] == 0


@pytest.mark.parametrize("kind", ["normal", "offset", "largest", "1e-37"])
def test_kmeans(kind):
    numerics.held(numerics.kmeans_row(kind, 400, seed=0))


@pytest.mark.parametrize("layout", ["product 8 x 16", "residual 2 x 256"])
def test_float16_codebooks(layout):
    numerics.held(numerics.float16_row(layout, 300, seed=0))


def test_mixed_precision():
    assert [numerics.held(row) for row in numerics.mixed_rows(10, seed=0)]


@pytest.mark.filterwarnings("ignore:overflow encountered")
def test_refused_numbers():
    assert numerics.refused_row()["cases"] > 30


@pytest.mark.filterwarnings("ignore:overflow encountered")
@pytest.mark.parametrize(
    "make",
    [
        lambda table: CodeLookupEmbedding.from_table(
            table, 1, codebook_dtype="float16"
        ),
        lambda table: IntegerEmbedding.from_table(table, step_dtype="float16"),
        lambda table: LowRankEmbedding.from_table(
            table, 1, row_dtype="float16"
        ),
    ],
    ids=["codes", "integers", "low rank"],
)
def test_what_float16_cannot_hold_is_refused(make):
    table = np.array([[1.0, 2.0], [3.0, 5.0], [7.0, 11.0]])
    make(table)
    with pytest.raises(ValueError, match="float16"):
        make(1e9 * table)


def test_a_row_that_float32_cannot_hold_is_refused():
    with pytest.raises(ValueError, match="infinity in row 1"):
        TableEmbedding(2, 1).warm_start(np.array([[1.0], [1e39]]))
