import numpy as np
import pytest

from mec_tf.quantizers import ProductQuantizer
from mec_tf.quantizers import nearest as base


def brute_force(table, codebooks):
    """Codes by float64 distances, one row and one sub-space at a time."""
    num_subspaces, _, width = codebooks.shape
    parts = table.astype(np.float64).reshape(-1, num_subspaces, width)
    gaps = np.square(parts[:, :, None] - codebooks.astype(np.float64)[None])
    return gaps.sum(axis=-1).argmin(axis=-1)


@pytest.mark.parametrize("size, dtype", [(5, np.uint8), (300, np.uint16)])
def test_encode_and_decode_match_brute_force(size, dtype):
    rng = np.random.default_rng(0)
    table = rng.normal(size=(100, 12)).astype(np.float32)
    codebooks = rng.normal(size=(3, size, 4)).astype(np.float32)
    quantizer = ProductQuantizer(3, size)
    codes = quantizer.encode(table, codebooks)
    assert codes.dtype == dtype
    np.testing.assert_array_equal(codes, brute_force(table, codebooks))

    decoded = quantizer.decode(codes, codebooks)
    expected = [
        np.concatenate([codebooks[m, code] for m, code in enumerate(row)])
        for row in codes
    ]
    np.testing.assert_array_equal(decoded, expected)
    assert decoded.dtype == np.float32


@pytest.mark.parametrize(
    "limit, value",
    [("ROWS", 1), ("ROWS", 7), ("ROWS", 50), ("BYTES", 1), ("BYTES", 500)],
)
def test_chunks_do_not_change_codes(monkeypatch, limit, value):
    rng = np.random.default_rng(0)
    table = rng.normal(size=(50, 4)).astype(np.float32)
    quantizer = ProductQuantizer(2, 6)
    codebooks = quantizer.fit(table)
    whole = quantizer.encode(table, codebooks)
    monkeypatch.setattr(base, f"CHUNK_{limit}", value)
    np.testing.assert_array_equal(quantizer.encode(table, codebooks), whole)


def test_a_memory_mapped_table_gives_the_same_codes(tmp_path):
    table = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)
    np.save(tmp_path / "table.npy", table)
    mapped = np.load(tmp_path / "table.npy", mmap_mode="r")
    quantizer = ProductQuantizer(3, 4)
    codebooks = quantizer.fit(table, np.arange(40))
    np.testing.assert_array_equal(
        quantizer.fit(mapped, np.arange(40)), codebooks
    )
    np.testing.assert_array_equal(
        quantizer.encode(mapped, codebooks), quantizer.encode(table, codebooks)
    )


def test_few_distinct_rows_come_back_exactly():
    rows = np.random.default_rng(0).normal(size=(4, 6)).astype(np.float32)
    table = rows[np.arange(20) % 4]
    quantizer = ProductQuantizer(2, 4)
    codebooks = quantizer.fit(table)
    codes = quantizer.encode(table, codebooks)
    np.testing.assert_allclose(
        quantizer.decode(codes, codebooks), table, atol=1e-6
    )


def test_codebooks_fit_better_than_a_random_choice_of_rows():
    rng = np.random.default_rng(0)
    table = rng.normal(size=(300, 4)).astype(np.float32)
    quantizer = ProductQuantizer(2, 8)

    def error(codebooks):
        codes = quantizer.encode(table, codebooks)
        return np.square(quantizer.decode(codes, codebooks) - table).mean()

    random = table[:8].reshape(8, 2, 2).transpose(1, 0, 2)
    assert error(quantizer.fit(table)) < 0.8 * error(random)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((0, 4), "num_subspaces=0"),
        ((2, 0), "codebook_size=0"),
        ((2, 65537), "codebook_size=65537"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        ProductQuantizer(*arguments)


def test_width_that_subspaces_do_not_divide():
    with pytest.raises(ValueError, match="num_subspaces=3, .*divide=40"):
        ProductQuantizer(3, 4).fit(np.zeros((5, 40)))
