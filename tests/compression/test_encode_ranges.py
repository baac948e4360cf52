"""Codes of a table, kept range by range."""

import dataclasses

import numpy as np
import pytest

from mec_tf.compression import (
    ArtifactError,
    TableSettings,
    compress_table,
    encode_ranges,
    read_table,
)
from mec_tf.quantizers import ProductQuantizer

ROWS, DIM = 250, 8
RNG = np.random.default_rng(1)
TABLE = RNG.normal(size=(ROWS, DIM)).astype("float32")
COUNTS = RNG.integers(0, 9, ROWS)
SETTINGS = TableSettings(2, 16)
KINDS = {
    "product": SETTINGS,
    "rotated": dataclasses.replace(SETTINGS, quantizer="rotated"),
    "rank": dataclasses.replace(SETTINGS, quantizer="rotated", rank=4),
    "residual": dataclasses.replace(SETTINGS, quantizer="residual"),
    "private": dataclasses.replace(
        SETTINGS, private_rows=170, codebook_dtype="float16"
    ),
}


def compress(folder, table=TABLE, settings=SETTINGS, **options):
    options = {"counts": COUNTS, "rows_at_once": 60, **options}
    return compress_table(table, settings, folder=folder, **options)


def assert_alike(one, other):
    assert one.get_config() | {"name": ""} == other.get_config() | {"name": ""}
    for ours, theirs in zip(
        one.get_weights(), other.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("kind", KINDS)
def test_as_at_once(kind, tmp_path):
    whole = compress_table(TABLE, KINDS[kind], counts=COUNTS)
    assert_alike(compress(tmp_path, settings=KINDS[kind]), whole)


def test_a_killed_run_goes_on(tmp_path, monkeypatch):
    encode, calls = ProductQuantizer.encode, []

    def killed_at_third(self, rows, *args):
        calls.append(len(rows))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return encode(self, rows, *args)

    monkeypatch.setattr(ProductQuantizer, "encode", killed_at_third)
    with pytest.raises(KeyboardInterrupt):
        compress(tmp_path)
    monkeypatch.setattr(ProductQuantizer, "fit", None)  # kept: not done again
    layer = compress(tmp_path)
    assert calls == [60, 60, 60, 60, 60, 10]
    monkeypatch.undo()
    assert_alike(layer, compress_table(TABLE, SETTINGS, counts=COUNTS))


def test_processes_share_the_ranges(tmp_path):
    np.save(tmp_path / "table.npy", TABLE)
    table, folder = read_table(tmp_path / "table.npy"), tmp_path / "codes"
    options = {"counts": COUNTS, "rows_at_once": 60, "parts": 2}
    with pytest.raises(FileNotFoundError, match="part 0"):
        encode_ranges(table, SETTINGS, folder, part=1, **options)
    for part in range(2):
        encode_ranges(table, SETTINGS, folder, part=part, **options)
        names = {path.name for path in folder.glob("codes-*")}
        assert len(names) == (3, 5)[part]
    assert_alike(
        compress(folder, table), compress_table(TABLE, SETTINGS, counts=COUNTS)
    )


def test_what_is_kept_of_another_table_is_refused(tmp_path):
    compress(tmp_path)
    for options in (
        {"table": TABLE + 1},
        {"table": TABLE[:200], "counts": COUNTS[:200]},
        {"settings": TableSettings(4, 16)},
        {"seed": 1},
    ):
        with pytest.raises(ArtifactError, match="Delete the folder"):
            compress(tmp_path, **options)
    path = tmp_path / "codes-60-120.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ArtifactError, match="codes-60-120"):
        compress(tmp_path)


@pytest.mark.parametrize(
    "options", [{"part": 2, "parts": 2}, {"part": -1}, {"rows_at_once": 0}]
)
def test_errors(options, tmp_path):
    with pytest.raises(ValueError, match="`part` must be"):
        encode_ranges(TABLE, SETTINGS, tmp_path, **options)
    with pytest.raises(ValueError, match="`additive_dim` must be 0"):
        compress(tmp_path, additive_dim=1)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"num_subspaces": 0}, "must have codes"),
        ({"heads": ((50, SETTINGS),)}, "no `heads`"),
        ({"quantizer": "rotated", "rank": 16}, "`rank` must be at most"),
        ({"num_subspaces": 3}, "`num_subspaces` must divide"),
    ],
)
def test_settings_that_do_not_fit(changes, words, tmp_path):
    settings = dataclasses.replace(SETTINGS, **changes)
    with pytest.raises(ValueError, match=words):
        encode_ranges(TABLE, settings, tmp_path / "new")
    with pytest.raises(ValueError, match=r"`table` must be \[rows, columns\]"):
        encode_ranges(TABLE[0], SETTINGS, tmp_path / "new")
    assert not (tmp_path / "new").exists()
