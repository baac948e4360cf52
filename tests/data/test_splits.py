import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mec_tf.data import ByValueSplit, FileSplit, RandomSplit, TemporalSplit
from mec_tf.data import splits as splits_module
from mec_tf.data.source import Source


def write(path, column, values):
    text = "\n".join([column, *map(str, values)])
    path.write_text(text + "\n")
    return Source(path)


def codes(split, source, timestamp=None):
    columns = split.columns(timestamp)
    types = source.types()
    read = {c: types[c] for c in columns or types}
    assign = split.fit(source, timestamp, progress=False)
    return np.concatenate([assign(b) for b in source.blocks(read)])


def test_random_split_has_its_fractions_and_seed(tmp_path):
    source = write(tmp_path / "a.csv", "x", range(20_000))
    found = codes(RandomSplit(0.2, 0.1), source)
    shares = np.bincount(found) / len(found)
    assert shares == pytest.approx([0.7, 0.2, 0.1], abs=0.01)
    assert np.array_equal(found, codes(RandomSplit(0.2, 0.1), source))
    other = codes(RandomSplit(0.2, 0.1, seed=1), source)
    assert 0.4 < (other == found).mean() < 0.7


def test_random_split_does_not_hang_on_blocks(tmp_path, monkeypatch):
    source = write(tmp_path / "a.csv", "x", range(5000))
    whole = codes(RandomSplit(), source)
    monkeypatch.setattr("mec_tf.data.text_file._BLOCK_BYTES", 999)
    assert len(list(source.blocks(source.types()))) > 5
    assert np.array_equal(whole, codes(RandomSplit(), source))


def test_temporal_split_by_file_order(tmp_path):
    source = write(tmp_path / "a.csv", "x", range(10))
    found = codes(TemporalSplit(validation=0.2, test=0.1), source)
    assert found.tolist() == [0] * 7 + [1] * 2 + [2]


@pytest.mark.parametrize("by", ["split", "schema"])
def test_temporal_split_by_column_keeps_equal_times_together(tmp_path, by):
    days = [f"2024-01-{day:02}" for day in (5, 1, 4, 2, 3, 3, 2, 4, 1, 5)]
    source = write(tmp_path / "a.csv", "day", days)
    split = TemporalSplit("day" if by == "split" else None, 0.2, 0.2)
    found = codes(split, source, timestamp=None if by == "split" else "day")
    expected = {"01": 0, "02": 0, "03": 0, "04": 1, "05": 2}
    assert found.tolist() == [expected[day[-2:]] for day in days]


def test_temporal_split_samples_long_logs(tmp_path, monkeypatch):
    monkeypatch.setattr(splits_module, "_SAMPLE_ROWS", 2000)
    source = write(tmp_path / "a.csv", "t", range(50_000))
    found = codes(TemporalSplit("t"), source)
    assert np.bincount(found) / 50_000 == pytest.approx(
        [0.8, 0.1, 0.1], abs=0.03
    )
    assert (np.diff(found) >= 0).all()


def test_by_value_split(tmp_path):
    source = write(tmp_path / "a.csv", "day", [9, 10, 15, 20, 25, 1])
    assert codes(ByValueSplit("day"), source).tolist() == [0, 1, 2, 1, 2, 0]


def test_by_value_split_counts_days_of_times(tmp_path):
    times = [
        "1970-01-11 23:59:00",
        "1970-01-12 00:00:00",
        "1970-01-16 05:00:00",
    ]
    source = write(tmp_path / "a.csv", "t", times)
    assert pa.types.is_timestamp(source.types()["t"])
    assert codes(ByValueSplit("t"), source).tolist() == [1, 0, 2]


@pytest.mark.parametrize(
    ("values", "split", "message"),
    [
        (["a", "b"], TemporalSplit("x"), "numbers, times or dates"),
        ([1.5, 2.5], ByValueSplit("x"), "whole numbers or dates"),
        (["1", "NA"], TemporalSplit("x"), "'x'.*1 missing"),
    ],
)
def test_refuses_columns(tmp_path, values, split, message):
    source = write(tmp_path / "a.csv", "x", values)
    with pytest.raises(ValueError, match=message):
        codes(split, source)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RandomSplit(0, 0.1), "validation=0"),
        (lambda: RandomSplit(0.5, 0.5), "test=0.5"),
        (lambda: TemporalSplit(test=-1), "test=-1"),
        (lambda: ByValueSplit("d", 10, (0,), (0,)), r"test=\(0,\)"),
        (lambda: ByValueSplit("d", 2), r"`modulus`=2"),
    ],
)
def test_refuses_settings(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_file_split(tmp_path):
    for name in ("a.csv", "b.csv", "c.csv"):
        write(tmp_path / name, "x", [1, 2])
    source = Source(tmp_path)
    split = FileSplit(validation=("c.csv",), test=("a.csv",))
    assert codes(split, source).tolist() == [2, 2, 0, 0, 1, 1]
    with pytest.raises(ValueError, match="d.csv"):
        codes(FileSplit(("d.csv",), ("a.csv",)), source)


@pytest.mark.parametrize("units", [("s", "ns"), ("ms", "s"), ("us", "us")])
def test_times_of_other_units_are_the_same_times(tmp_path, units):
    for i, unit in enumerate(units):
        hours = pa.array(range(i * 36_000, (i + 1) * 36_000, 3600))
        when = hours.cast(pa.timestamp("s")).cast(pa.timestamp(unit))
        pq.write_table(pa.table({"t": when}), tmp_path / f"{i}.parquet")
    found = codes(TemporalSplit("t", 0.2, 0.1), Source(tmp_path))
    assert found.tolist() == [0] * 14 + [1] * 4 + [2] * 2


def test_times_that_another_unit_cannot_hold(tmp_path):
    for i, kind in enumerate([pa.timestamp("ms"), pa.timestamp("us")]):
        when = pa.array([1_000 * i, 1_001 * i], kind)
        pq.write_table(pa.table({"t": when}), tmp_path / f"{i}.parquet")
    with pytest.raises(
        ValueError, match=r"'t' of .*1.parquet .*timestamp\[ms\]"
    ):
        codes(TemporalSplit("t"), Source(tmp_path))


@pytest.mark.parametrize(
    ("values", "row"),
    [(pa.array([1, None, 2]), 2), (pa.array([1, 2, 2**63], pa.uint64()), 3)],
)
def test_names_the_row_to_split_by(tmp_path, values, row):
    pq.write_table(pa.table({"x": values}), tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=f"'x' of .*a.parquet.*row {row}: "):
        codes(TemporalSplit("x"), Source(tmp_path))


def test_times_of_day_split(tmp_path):
    hours = [f"{hour:02}:00:00" for hour in (3, 1, 2, 9, 8, 7, 4, 5, 6, 0)]
    source = write(tmp_path / "a.csv", "t", hours)
    found = codes(TemporalSplit("t", 0.2, 0.2), source)
    assert found.tolist() == [0, 0, 0, 2, 2, 1, 0, 0, 1, 0]
