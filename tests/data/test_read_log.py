import gzip
import json
import os

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mec_tf.data import Log, RandomSplit, Schema, TemporalSplit, read_log
from mec_tf.data.layouts import hour_of_day
from mec_tf.data.storage import RowsWriter
from mec_tf.data.survey import Survey

N = 3000


@pytest.fixture
def table():
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "click": rng.integers(0, 2, N),
            "user": pd.array(rng.zipf(1.5, N) % 500, "Int64"),
            "city": rng.choice(["Oslo", "Rome", "NA", None], N),
            "price": np.where(rng.random(N) < 0.1, np.nan, rng.normal(size=N)),
        }
    )


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr("mec_tf.data.text_file._BLOCK_BYTES", 10_000)
    monkeypatch.setattr("mec_tf.data.text_file._FIRST_BLOCK_BYTES", 1000)
    monkeypatch.setattr("mec_tf.data.parquet_file._BLOCK_ROWS", 700)


def read(paths, folder, **options):
    options = {"label": "click", "progress": False} | options
    return read_log(paths, cache_dir=folder, **options)


def write_csv(path, text):
    path.write_text(text)
    return path


def assert_same(one, other):
    assert one.schema == other.schema
    assert one.vocabularies == other.vocabularies
    for split in one.splits:
        for name in ("ids", "numeric", "labels"):
            np.testing.assert_array_equal(
                getattr(one._rows[split], name),
                getattr(other._rows[split], name),
            )
    for column, stats in one.numeric.items():
        assert stats.mean == pytest.approx(other.numeric[column].mean)
        assert stats.std == pytest.approx(other.numeric[column].std)
        assert stats.missing == other.numeric[column].missing


def test_reads_what_was_written(tmp_path, table):
    table.to_csv(tmp_path / "log.csv", index=False)
    log = read(
        tmp_path / "log.csv", tmp_path / "c", split=TemporalSplit(None, 0.2)
    )
    assert log.name == "log"
    assert log.schema == Schema(
        "click", ("user", "city"), ("price",), strings=("city",)
    )
    assert [log.num_rows(s) for s in log.splits] == [2100, 600, 300]
    start = 0
    for split in log.splits:
        part = table.iloc[start : start + log.num_rows(split)]
        start += len(part)
        rows = log._rows[split]
        np.testing.assert_array_equal(rows.labels, part["click"])
        np.testing.assert_array_equal(
            rows.numeric[:, 0], part["price"].astype(np.float32)
        )
        for i, column in enumerate(log.schema.categorical):
            expected = log.vocabularies[column].encode(part[column])
            np.testing.assert_array_equal(rows.ids[:, i], expected)
    train = table.iloc[:2100]
    counts = train["user"].value_counts()
    users = log.vocabularies["user"]
    assert users.size == len(counts) + 1
    assert users.counts[1:].tolist() == counts.tolist()
    assert users.counts[1] == counts[users.values[0]]
    assert set(log.vocabularies["city"].values) == {"Oslo", "Rome", "NA"}
    assert log.counts["city"][0] == train["city"].isna().sum()
    assert log.numeric["price"].missing == train["price"].isna().sum()


def test_every_format_gives_the_same_log(tmp_path, table):
    whole = tmp_path / "log.csv"
    table.to_csv(whole, index=False)
    expected = read(whole, tmp_path / "c0")

    table.to_parquet(tmp_path / "log.parquet")
    assert_same(read(tmp_path / "log.parquet", tmp_path / "c1"), expected)

    (tmp_path / "z.csv.gz").write_bytes(gzip.compress(whole.read_bytes()))
    assert_same(read(tmp_path / "z.csv.gz", tmp_path / "c2"), expected)

    tsv = tmp_path / "log.tsv"
    table.to_csv(tsv, index=False, sep="\t", header=False)
    log = read(tsv, tmp_path / "c3", column_names=list(table.columns))
    assert_same(log, expected)

    odd = tmp_path / "semicolons.txt"
    table.to_csv(odd, index=False, sep=";")
    assert_same(read(odd, tmp_path / "c4", delimiter=";"), expected)

    parts = tmp_path / "parts"
    parts.mkdir()
    (parts / "_SUCCESS").touch()
    (parts / "readme.md").write_text("not data")
    table[:1000].to_csv(parts / "0.csv", index=False)
    table[1000:].to_parquet(parts / "1.parquet")
    assert_same(read(parts, tmp_path / "c5"), expected)
    files = [parts / "0.csv", parts / "1.parquet"]
    assert_same(read(files, tmp_path / "c6"), expected)

    coded = table.assign(city=table["city"].astype("category"))
    pq.write_table(pa.Table.from_pandas(coded), tmp_path / "d.parquet")
    assert_same(read(tmp_path / "d.parquet", tmp_path / "c7"), expected)


def test_blocks_make_no_difference(tmp_path, table, monkeypatch):
    table.to_csv(tmp_path / "log.csv", index=False)
    expected = read(tmp_path / "log.csv", tmp_path / "small")
    monkeypatch.setattr("mec_tf.data.text_file._BLOCK_BYTES", 1 << 22)
    assert_same(read(tmp_path / "log.csv", tmp_path / "large"), expected)


def test_memory_is_bounded_by_blocks(tmp_path, table, monkeypatch):
    table.to_csv(tmp_path / "log.csv", index=False)
    sizes = []
    append = RowsWriter.append

    def spy(self, rows):
        sizes.append(len(rows))
        append(self, rows)

    monkeypatch.setattr(RowsWriter, "append", spy)
    read(tmp_path / "log.csv", tmp_path / "c")
    assert sum(sizes) == N
    assert max(sizes) < N / 3


def test_min_count(tmp_path, table):
    table.to_csv(tmp_path / "log.csv", index=False)
    log = read(tmp_path / "log.csv", tmp_path / "c", min_count=5)
    counts = log.counts["user"]
    assert counts[1:].min() >= 5
    assert counts[0] > 0
    assert counts.sum() == log.num_rows("train")


def test_whole_numbers_written_as_floats(tmp_path):
    rows = "".join(f"{i % 2},{i % 3}.0\n" for i in range(200))
    path = write_csv(tmp_path / "a.csv", "click,user\n" + rows + "1,\n")
    schema = Schema("click", ("user",))
    log = read(path, tmp_path / "c", schema=schema)
    assert sorted(log.vocabularies["user"].values) == [0, 1, 2]
    assert log.schema.strings == ()


def test_strings_keep_leading_zeros(tmp_path):
    rows = "".join(f"{i % 2},0{i % 3}\n" for i in range(200))
    path = write_csv(tmp_path / "a.csv", "click,zip\n" + rows)
    log = read(path, tmp_path / "c", strings=["zip"])
    assert sorted(log.vocabularies["zip"].values) == ["00", "01", "02"]


def test_reuses_and_replaces_the_cache(tmp_path, table, monkeypatch):
    path, folder = tmp_path / "log.csv", tmp_path / "c"
    table.to_csv(path, index=False)
    first = read(path, folder)
    stamp = os.stat(folder / "log.json").st_ino

    def written():
        return os.stat(folder / "log.json").st_ino != stamp

    assert_same(read(path, folder), first)
    assert not written()
    read(path, folder, split=RandomSplit(seed=3))
    assert written()
    stamp = os.stat(folder / "log.json").st_ino
    table[:2000].to_csv(path, index=False)
    log = read(path, folder, split=RandomSplit(seed=3))
    assert written()
    assert sum(log.num_rows(s) for s in log.splits) == 2000
    assert not list(tmp_path.glob("*.partial"))
    assert not (folder / "replaced").exists()


@pytest.mark.parametrize("kind", [KeyboardInterrupt, OSError])
def test_interrupted_run_leaves_nothing(tmp_path, table, monkeypatch, kind):
    table.to_csv(tmp_path / "log.csv", index=False)
    append = RowsWriter.append

    def interrupt(self, rows):
        append(self, rows)
        raise kind("stop")

    with monkeypatch.context() as patch:
        patch.setattr(RowsWriter, "append", interrupt)
        with pytest.raises(kind, match="stop"):
            read(tmp_path / "log.csv", tmp_path / "c")
    assert [f.name for f in tmp_path.iterdir()] == ["log.csv"]


def test_killed_run_is_done_anew(tmp_path, table):
    table.to_csv(tmp_path / "log.csv", index=False)
    partial = tmp_path / "c.partial"
    (partial / "train").mkdir(parents=True)
    (partial / "train" / "ids.bin").write_bytes(b"half")
    with pytest.raises(FileNotFoundError, match="No finished log"):
        Log.load(partial)
    log = read(tmp_path / "log.csv", tmp_path / "c")
    assert not partial.exists()
    assert_same(Log.load(tmp_path / "c", verify=True), log)


def test_load_finds_damage(tmp_path, table):
    table.to_csv(tmp_path / "log.csv", index=False)
    folder = tmp_path / "c"
    read(tmp_path / "log.csv", folder)
    ids = folder / "train" / "ids.bin"
    data = bytearray(ids.read_bytes())
    data[10] ^= 1
    ids.write_bytes(data)
    Log.load(folder)
    with pytest.raises(ValueError, match="ids.bin is damaged.*checksum"):
        Log.load(folder, verify=True)
    ids.write_bytes(data[:-4])
    with pytest.raises(ValueError, match="ids.bin is damaged: expected"):
        Log.load(folder)
    header = json.loads((folder / "log.json").read_text())
    (folder / "log.json").write_text(json.dumps(header | {"version": 99}))
    with pytest.raises(ValueError, match="version 1.*99"):
        Log.load(folder)
    (folder / "log.json").write_text("{")
    with pytest.raises(ValueError, match="log.json is damaged"):
        Log.load(folder)


def test_keeps_foreign_directories(tmp_path, table):
    table.to_csv(tmp_path / "log.csv", index=False)
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "thesis.txt").write_text("precious")
    with pytest.raises(ValueError, match="`cache_dir`.*something else"):
        read(tmp_path / "log.csv", folder)
    assert (folder / "thesis.txt").read_text() == "precious"


def test_finds_missing_files(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere.csv"):
        read(tmp_path / "nowhere.csv", tmp_path / "c")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="empty"):
        read(tmp_path / "empty", tmp_path / "c")
    with pytest.raises(ValueError, match="`paths`.*none"):
        read([], tmp_path / "c", name="x")


MANY = "".join(f"{i % 2},{i % 7},{i % 3}\n" for i in range(400))


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("", {}, "a.csv is empty"),
        ("click,user,shop\n", {}, "a.csv holds no row"),
        ("clock,user\n1,2\n", {}, "`label`.*'clock', 'user'.*'click'"),
        ("click,user\n0,1\n2,1\n", {}, r"'click'.*0 and 1.*0\.0, 2\.0"),
        ("click,user\nyes,1\nno,1\n", {}, "'click'.*0 and 1.*'yes', 'no'"),
        ("click,user\n1,1\n,1\n", {}, "'click'.*1 missing"),
        ("click,user\n1,1\nnan,1\n", {}, "'click'.*1 missing"),
        ("click,user\n1,1\n1,2\n", {}, "`split` must leave rows"),
        ("click,user\n" + "1,1\n1,2\n" * 50, {}, "'click'.*one value, 1"),
        ("click,user,shop\n" + MANY, {"drop": ["no"]}, "`drop`.*'no'"),
        ("click,user,shop\n" + MANY, {"min_count": 999}, "`min_count`=999"),
        ("click,user,shop\n" + MANY, {"min_count": 0}, "min_count=0"),
        (
            "click,user,shop\n" + MANY + "1,3.7,1\n",
            {},
            "'user' of .*a.csv must hold whole numbers.*3.7",
        ),
        (
            "click,user,shop\n" + MANY + "1,bob,1\n",
            {},
            "'user' of .*whole numbers.*`strings`.*bob",
        ),
        (
            "click,user,shop\n1,3.7,1\n" + MANY,
            {"schema": Schema("click", ("user", "shop"))},
            "'user' of .*whole numbers.*3.7",
        ),
        (
            "click,user,shop\n" + MANY + "1,x,1\n",
            {"numeric": ["user"]},
            "'user' of .*must hold numbers.*x",
        ),
        (
            "click,user,shop\n" + MANY + "1,2\n",
            {},
            "a.csv must hold 3 values.*in row 402: 2 in '1,2'",
        ),
        (
            "click,user,shop\n" + MANY,
            {"schema": Schema("click", ("item",))},
            "`schema`.*'item'",
        ),
        (
            "click,user,shop\n" + MANY,
            {"schema": Schema("buy", ("user",))},
            "`label`.*'buy'",
        ),
        (
            "click,user,shop\n" + MANY,
            {"schema": Schema("click", ("user",)), "numeric": ["user"]},
            "beside `schema`",
        ),
        (
            "click,user,shop\n" + MANY,
            {"split": TemporalSplit("day")},
            "`split`.*'day'",
        ),
    ],
)
def test_one_clear_error_and_nothing_left(tmp_path, text, options, message):
    path = write_csv(tmp_path / "a.csv", text)
    with pytest.raises(ValueError, match=message):
        read(path, tmp_path / "c" / "deep", **options)
    assert [f.name for f in tmp_path.iterdir()] == ["a.csv"]


@pytest.mark.parametrize("column", ["text", "number"])
def test_column_of_one_value(tmp_path, table, column):
    value = {"text": "same", "number": 2.5}[column]
    path = tmp_path / "log.csv"
    table.assign(**{column: value}).to_csv(path, index=False)
    with pytest.raises(ValueError, match=f"one value.*`drop`.*'{column}'"):
        read(path, tmp_path / "c")
    log = read(path, tmp_path / "c", drop=[column])
    assert column not in log.schema.features


def test_other_files(tmp_path, table):
    path = tmp_path / "log.xlsx"
    path.write_text("x")
    with pytest.raises(ValueError, match=r"end in one of \.csv.*log.xlsx"):
        read(path, tmp_path / "c")
    path = tmp_path / "log.parquet"
    path.write_text("not parquet at all")
    with pytest.raises(ValueError, match="log.parquet cannot be read"):
        read(path, tmp_path / "c")
    table.to_csv(tmp_path / "0.csv", index=False)
    table.drop(columns="city").to_csv(tmp_path / "1.csv", index=False)
    with pytest.raises(ValueError, match="1.csv has no column 'city'"):
        read([tmp_path / "0.csv", tmp_path / "1.csv"], tmp_path / "c")
    data = gzip.compress((tmp_path / "0.csv").read_bytes())
    (tmp_path / "cut.csv.gz").write_bytes(data[: len(data) // 2])
    with pytest.raises(ValueError, match="cut.csv.gz"):
        read(tmp_path / "cut.csv.gz", tmp_path / "c")
    assert not (tmp_path / "c").exists()


def test_refuses_a_schema_with_sequences(tmp_path):
    path = write_csv(tmp_path / "log.csv", "click,item\n0,1\n1,2\n")
    schema = Schema("click", ("item",), sequences={"history": "item"})
    with pytest.raises(ValueError, match="`schema`.*'history': 'item'"):
        read(path, tmp_path / "cache", schema=schema)
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("ending", ["csv", "parquet"])
@pytest.mark.parametrize("how", ["longer", "replaced", "gone", "same size"])
def test_a_file_that_changes_while_it_is_read(
    tmp_path, table, monkeypatch, ending, how
):
    path, other = tmp_path / f"log.{ending}", tmp_path / "other"
    write = {"csv": pd.DataFrame.to_csv, "parquet": pd.DataFrame.to_parquet}
    write[ending](table, path, index=False)
    write[ending](table[::-1], other, index=False)
    check = Survey.check

    def change(survey):
        check(survey)
        stat, data = path.stat(), path.read_bytes()
        if how == "longer":
            path.write_bytes(data + data[-10:])
        elif how == "replaced":
            os.replace(other, path)
        elif how == "gone":
            path.unlink()
        else:
            path.write_bytes(data)
            os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))

    monkeypatch.setattr(Survey, "check", change)
    with pytest.raises((ValueError, FileNotFoundError), match=f"log.{ending}"):
        read(path, tmp_path / "c")
    assert not list(tmp_path.glob("c*"))


def test_names_the_row_of_a_later_block_and_shard(tmp_path, table):
    table.to_csv(tmp_path / "0.csv", index=False)
    wrong = table.assign(click=table["click"].where(table.index != 2500, 2))
    wrong.to_csv(tmp_path / "1.csv", index=False)
    with pytest.raises(ValueError, match=r"'click' of .*1.csv.*row 2502: 2\.0"):
        read([tmp_path / "0.csv", tmp_path / "1.csv"], tmp_path / "c")
    wrong.to_parquet(tmp_path / "1.parquet")
    with pytest.raises(ValueError, match="'click' of .*1.parquet.*row 2501: 2"):
        read([tmp_path / "0.csv", tmp_path / "1.parquet"], tmp_path / "c")


def test_large_ids_written_as_floats_are_refused(tmp_path):
    text = "click,user\n" + "0,1.0\n1,2.0\n" * 50 + f"1,{2**53 + 1}\n"
    path = write_csv(tmp_path / "a.csv", text)
    with pytest.raises(ValueError, match="'user' of .*a.csv.*row 102: "):
        read(path, tmp_path / "c", schema=Schema("click", ("user",)))


@pytest.mark.parametrize(
    "label",
    [
        [[0], [1]] * 50,
        [{"a": 1}] * 100,
        pd.to_datetime(["2024-01-01"] * 100),
        ["0", "1"] * 50,
    ],
)
def test_labels_of_other_types(tmp_path, label):
    table = pd.DataFrame({"click": label, "user": range(100)})
    table.to_parquet(tmp_path / "a.parquet")
    with pytest.raises(ValueError, match="'click' of .*a.parquet.*0 and 1"):
        read(tmp_path / "a.parquet", tmp_path / "c")


def test_times_are_no_ids(tmp_path, table):
    table.to_parquet(tmp_path / "0.parquet")
    times = table.assign(user=pd.to_datetime(["2024-01-01"] * N))
    times.to_parquet(tmp_path / "1.parquet")
    files = [tmp_path / "0.parquet", tmp_path / "1.parquet"]
    with pytest.raises(
        ValueError, match="'user' of .*1.parquet .*int64.*stamp"
    ):
        read(files, tmp_path / "c")


@pytest.mark.parametrize("delimiter", ["", ",,", '"', "\n", "é", "\0"])
def test_refuses_delimiters(tmp_path, delimiter):
    path = write_csv(tmp_path / "a.csv", "click,user\n0,1\n")
    with pytest.raises(ValueError, match="`delimiter` must be one"):
        read(path, tmp_path / "c", delimiter=delimiter)


@pytest.mark.parametrize("name", ["x" * 300 + ".csv", "a.csv/b.csv"])
def test_paths_that_no_system_takes(tmp_path, name):
    write_csv(tmp_path / "a.csv", "click,user\n0,1\n")
    with pytest.raises((ValueError, FileNotFoundError), match=name[:9]):
        read(tmp_path / name, tmp_path / "c")


def test_derived_columns_name_the_bad_value(tmp_path):
    rows = "".join(f"{i % 2},{i % 24:08}\n" for i in range(100))
    path = write_csv(tmp_path / "a.csv", "click,hour\n" + rows + "1,now\n")
    with pytest.raises(ValueError, match="'hour' of .*a.csv.*row 102: 'now'"):
        read(
            path,
            tmp_path / "c",
            strings=["hour"],
            derive={"h": ("hour", hour_of_day)},
        )
