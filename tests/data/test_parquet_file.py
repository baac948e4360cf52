import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mec_tf.data.parquet_file import ParquetFile


def parquet_file(tmp_path, columns, **options):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table(columns), path, **options)
    return ParquetFile(path)


def read(file, *columns):
    types = {name: pa.string() for name in columns or file.types()}
    batches = [batch for batch, _ in file.batches(types)]
    return pa.Table.from_batches(batches).to_pydict()


def test_reads_and_decodes(tmp_path):
    columns = {
        "a": [1, 2, None],
        "c": pa.array(["x", "y", "x"]).dictionary_encode(),
        "d": pa.array([7, 8, None]).dictionary_encode(),
    }
    file = parquet_file(tmp_path, columns)
    assert file.types() == {"a": pa.int64(), "c": pa.string(), "d": pa.int64()}
    assert read(file, "d", "a") == {"d": [7, 8, None], "a": [1, 2, None]}
    assert read(file, "c") == {"c": ["x", "y", "x"]}
    assert file.line(0) == 1


def test_text_that_is_none(tmp_path):
    raw = [b"x"] * 300
    raw[123] = b"a\xffb"
    text = pa.array(raw, pa.binary()).view(pa.string())
    file = parquet_file(tmp_path, {"a": text, "b": range(300)})
    assert read(file, "b") == {"b": list(range(300))}
    with pytest.raises(ValueError, match="'a' of .*a.parquet.*row 124: .*UTF8"):
        read(file)


def test_checksums_of_pages_are_compared(tmp_path):
    file = parquet_file(
        tmp_path,
        {"a": np.arange(1000)},
        write_page_checksum=True,
        compression="none",
        use_dictionary=False,
    )
    data = bytearray(file.path.read_bytes())
    data[2000] ^= 1
    file.path.write_bytes(data)
    with pytest.raises(ValueError, match="a.parquet cannot be read.*"):
        read(file)


@pytest.mark.parametrize("data", [b"", b"PAR1", b"PAR1" * 9, b"a,b\n1,2\n"])
def test_other_files(tmp_path, data):
    path = tmp_path / "a.parquet"
    path.write_bytes(data)
    with pytest.raises(ValueError, match="a.parquet cannot be read") as caught:
        ParquetFile(path).types()
    assert type(caught.value) is ValueError


def test_no_rows_and_missing_columns(tmp_path):
    file = parquet_file(tmp_path, {"a": pa.array([], pa.int64())})
    assert [b.num_rows for b, _ in file.batches({"a": pa.int64()})] in ([], [0])
    with pytest.raises(ValueError, match="a.parquet has no column 'b'.*'a'"):
        read(file, "b")


def test_column_named_twice(tmp_path):
    table = pa.table([[1], [2]], names=["a", "a"])
    pq.write_table(table, tmp_path / "a.parquet")
    file = ParquetFile(tmp_path / "a.parquet")
    with pytest.raises(ValueError, match="a.parquet.*each column once.*'a'"):
        file.types()
    with pytest.raises(ValueError, match="a.parquet.*each column once.*'a'"):
        read(file, "a")
