import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from mec_tf.data import Vocabulary


def test_orders_by_popularity_then_value():
    vocabulary = Vocabulary.from_counts(
        ["pear", "fig", "apple", "kiwi"], [3, 9, 3, 1]
    )
    assert vocabulary.values.tolist() == ["fig", "apple", "pear", "kiwi"]
    assert vocabulary.values.dtype == object
    assert vocabulary.counts.tolist() == [0, 9, 3, 3, 1]
    assert vocabulary.counts.dtype == np.int64
    assert vocabulary.size == 5
    assert vocabulary.key_dtype == "string"


def test_row_zero_holds_rare_and_missing_values():
    vocabulary = Vocabulary.from_counts(
        ["a", None, "", "b", "c"], [5, 4, 3, 2, 1], min_count=2
    )
    assert vocabulary.values.tolist() == ["a", "b"]
    assert vocabulary.counts.tolist() == [8, 5, 2]


@pytest.mark.parametrize(
    "values",
    [
        ["b", "zz", None, "a", "", float("nan")],
        np.array(["b", "zz", None, "a", "", None], object),
        pd.Series(["b", "zz", None, "a", "", None]),
        pd.Categorical(["b", "zz", None, "a", "", None]),
        pa.array(["b", "zz", None, "a", "", None]),
        pa.chunked_array([["b", "zz", None], ["a", "", None]]),
        pa.array(["b", "zz", None, "a", "", None]).dictionary_encode(),
    ],
    ids="list numpy pandas categorical arrow chunked dictionary".split(),
)
def test_encode_strings(values):
    rows = Vocabulary(["a", "b"], [0, 2, 1]).encode(values)
    assert rows.dtype == np.int32
    assert rows.tolist() == [2, 0, 0, 1, 0, 0]


@pytest.mark.parametrize(
    "values",
    [
        [7, -1, None, 5],
        np.array([7.0, 8.0, np.nan, 5.0]),
        pa.array([7, 8, None, 5], pa.int16()),
        ["7", "8", None, "5"],
    ],
    ids="list floats int16 text".split(),
)
def test_encode_integers(values):
    vocabulary = Vocabulary(np.array([5, 7]), [0, 1, 1])
    assert vocabulary.key_dtype == "int64"
    assert vocabulary.values.dtype == np.int64
    assert vocabulary.encode(values).tolist() == [2, 0, 0, 1]


@pytest.mark.parametrize("values", [[3.7], ["x"]])
def test_encode_refuses_what_is_no_whole_number(values):
    with pytest.raises(ValueError, match="whole numbers.*(3.7|x)"):
        Vocabulary([5, 7], [0, 1, 1]).encode(values)


def test_encode_refuses_floats_for_strings():
    with pytest.raises(ValueError, match="double"):
        Vocabulary(["5.0"], [0, 1]).encode([5.0])


def test_encode_of_all_missing():
    assert Vocabulary(["a"], [0, 1]).encode([None, None]).tolist() == [0, 0]
    assert Vocabulary([4], [0, 1]).encode([]).tolist() == []


def test_all_rare_keeps_key_dtype():
    vocabulary = Vocabulary.from_counts(np.array([1, 2]), [1, 1], min_count=5)
    assert (vocabulary.size, vocabulary.key_dtype) == (1, "int64")
    assert vocabulary.counts.tolist() == [2]


@pytest.mark.parametrize(
    ("values", "counts", "message"),
    [
        (["a", "a"], [0, 1, 1], "1 distinct"),
        (["a", None], [0, 1, 1], "1 missing"),
        (["a"], [1], r"shape \(1,\)"),
        ([["a"], ["b"]], [0, 1, 1], "strings or whole numbers|Ids"),
    ],
)
def test_refuses_bad_rows(values, counts, message):
    with pytest.raises(ValueError, match=message):
        Vocabulary(values, counts)


def test_refuses_min_count_zero():
    with pytest.raises(ValueError, match="min_count=0"):
        Vocabulary.from_counts(["a"], [1], min_count=0)


@pytest.mark.parametrize("values", [["é", "b|c", "NA"], [2**40, -3, 0]])
def test_save_and_load(tmp_path, values):
    vocabulary = Vocabulary(values, [1, 9, 5, 5])
    vocabulary.save(tmp_path / "v.parquet")
    loaded = Vocabulary.load(tmp_path / "v.parquet")
    assert loaded == vocabulary
    assert loaded.key_dtype == vocabulary.key_dtype
    assert [file.name for file in tmp_path.iterdir()] == ["v.parquet"]


def test_load_refuses_other_files(tmp_path):
    path = tmp_path / "v.parquet"
    with pytest.raises(FileNotFoundError, match="v.parquet"):
        Vocabulary.load(path)
    path.write_bytes(b"not a vocabulary")
    with pytest.raises(ValueError, match="whole vocabulary file"):
        Vocabulary.load(path)
    pd.DataFrame({"value": ["a"], "count": [1]}).to_parquet(path)
    with pytest.raises(ValueError, match="whole vocabulary file"):
        Vocabulary.load(path)


def test_load_finds_damage(tmp_path):
    path = tmp_path / "v.parquet"
    values = [f"value {i}" for i in range(1000)]
    Vocabulary(values, np.arange(1001)).save(path)
    data = bytearray(path.read_bytes())
    data[200] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(ValueError, match="whole vocabulary file"):
        Vocabulary.load(path)


@pytest.mark.parametrize("values", [["b", "a", "c"], [7, 3, 5]])
def test_extended_keeps_rows_and_appends(values, tmp_path):
    old = Vocabulary(values, [4, 9, 5, 1])
    new = [f"{v}x" for v in values] if values[0] == "b" else [70, 30]
    grown = old.extended(new[:2], [2, 6])
    assert grown.encode(values).tolist() == [1, 2, 3]
    assert grown.encode(new[:2]).tolist() == [4, 5]
    assert grown.counts.tolist() == [4, 9, 5, 1, 2, 6]
    assert old.size == 4
    grown.save(tmp_path / "vocabulary.parquet")
    assert Vocabulary.load(tmp_path / "vocabulary.parquet") == grown


@pytest.mark.parametrize(
    "values, counts, message",
    [
        (["c", "b"], [1, 1], "1 known"),
        (["c", None], [1, 1], "1 missing"),
        (["c", "c"], [1, 1], "distinct"),
        (["c"], [1, 1], "one entry a value"),
    ],
)
def test_extended_refuses_what_is_not_new(values, counts, message):
    with pytest.raises(ValueError, match=message):
        Vocabulary(["a", "b"], [0, 2, 1]).extended(values, counts)


def test_floats_that_skip_whole_numbers_are_no_ids():
    vocabulary = Vocabulary([2**53 - 1, 2**53], [0, 2, 1])
    assert vocabulary.encode([2.0**53 - 1, np.nan]).tolist() == [1, 0]
    for value in (2.0**53, -(2.0**53)):
        with pytest.raises(ValueError, match="below 2"):
            vocabulary.encode([1.0, value])


def test_times_are_no_whole_numbers():
    with pytest.raises(ValueError, match="whole numbers.*timestamp"):
        Vocabulary([1, 2], [0, 1, 1]).encode(pa.array([1], pa.timestamp("s")))
