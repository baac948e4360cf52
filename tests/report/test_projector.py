"""Files that TensorBoard's embedding projector loads."""

import re

import numpy as np
import pytest
import tensorflow as tf

from mec_tf.compression import EmbeddingCodes, StoredTable
from mec_tf.report import write_projector
from tests.report.made_results import exact, lookup, make_codes

ROWS = 40


def read(folder, config):
    """Each embedding of a configuration: (name, vectors, lines of values)."""
    found = []
    for block in config.read_text().split("embeddings {")[1:]:
        keys = dict(re.findall(r'(\w+): "(.*)"', block))
        vectors = np.loadtxt(
            folder / keys["tensor_path"], delimiter="\t", ndmin=2
        )
        text = (folder / keys["metadata_path"]).read_text(encoding="utf-8")
        lines = [line.split("\t") for line in text.split("\n")[:-1]]
        found.append((keys["tensor_name"], vectors, lines))
    return found


def test_most_popular_rows_with_their_values(tmp_path):
    table = StoredTable.from_layer(
        lookup(ROWS, 0), np.roll(1000 - 10 * np.arange(ROWS), 3)
    )
    codes = EmbeddingCodes({"tables/shop name": table})
    names = [f"shop {row}" for row in range(1, ROWS)]
    names[3] = "tab\tand\nbreak"  # of row 4, the second most popular
    config = write_projector(
        codes, tmp_path / "logs", values={"tables/shop name": names}, rows=6
    )
    assert config == tmp_path / "logs" / "projector_config.pbtxt"
    ((name, vectors, lines),) = read(tmp_path / "logs", config)
    assert name == "tables/shop name"
    ids = [3, 4, 5, 6, 7, 8]
    expected = codes.vectors("shop name", ids)
    np.testing.assert_allclose(vectors, expected, rtol=1e-5)
    assert lines[0] == ["value", "row", "lookups", "popularity"]
    assert lines[1] == ["shop 3", "3", "1000", "popular"]
    assert lines[2] == ["tab and break", "4", "990", "popular"]
    assert len(lines) == 1 + len(ids)


def test_without_counts_and_values(tmp_path):
    layer = tf.keras.layers.Embedding(8, 3)
    layer.build(None)
    codes = EmbeddingCodes({"full": StoredTable.from_layer(layer)})
    ((_, vectors, lines),) = read(tmp_path, write_projector(codes, tmp_path))
    np.testing.assert_allclose(vectors, codes.vectors("full", range(8)), 1e-5)
    assert lines[0] == ["value", "row"] and lines[3] == ["row 2", "2"]


def test_row_zero_and_empty_values_have_names(tmp_path):
    codes = make_codes({"country": exact()})
    config = write_projector(codes, tmp_path, values={"country": ["", *"abc"]})
    ((_, _, lines),) = read(tmp_path, config)
    assert [line[0] for line in lines[1:]] == [
        "(missing or unknown)", '""', "a", "b", "c",
    ]  # fmt: skip


def test_names_are_quoted_and_files_differ(tmp_path):
    codes = make_codes({'a "b"': exact(), "a/b": exact(), "a_b": exact()})
    config = write_projector(codes, tmp_path)
    text = config.read_text()
    assert r"tables/a \"b\"" in text
    paths = re.findall(r'tensor_path: "(.*)"', text)
    assert len(set(paths)) == 3
    assert all((tmp_path / path).exists() for path in paths)


def test_chosen_tables_only(tmp_path):
    codes = make_codes({"one": exact(), "two": lookup(ROWS, 0)})
    config = write_projector(codes, tmp_path, tables=["two"])
    assert [name for name, _, _ in read(tmp_path, config)] == ["two"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"rows": 0}, "`rows`"),
        ({"tables": ["none"]}, "none"),
        ({"values": {"none": []}}, "none"),
        ({"values": {"country": ["a"]}}, "must give 4 values for country"),
    ],
)
def test_errors(arguments, words, tmp_path):
    with pytest.raises(ValueError, match=words):
        write_projector(make_codes({"country": exact()}), tmp_path, **arguments)
    assert not list(tmp_path.iterdir())
