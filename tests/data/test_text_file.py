import gzip
import pathlib

import numpy as np
import pyarrow as pa
import pytest

from mec_tf.data.text_file import TextFile


def text_file(tmp_path, data, names=None, name="a.csv", delimiter=","):
    path = tmp_path / name
    if isinstance(data, str):
        data = data.encode()
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return TextFile(path, delimiter, names)


def read(file, **types):
    """The values of all rows, by column."""
    types = types or file.types()
    batches = [batch for batch, _ in file.batches(types)]
    return pa.Table.from_batches(batches).to_pydict()


def small_blocks(monkeypatch, size=300):
    monkeypatch.setattr("mec_tf.data.text_file._BLOCK_BYTES", size)
    monkeypatch.setattr("mec_tf.data.text_file._FIRST_BLOCK_BYTES", size)


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])
def test_values_may_go_over_lines_and_blocks(tmp_path, monkeypatch, name):
    small_blocks(monkeypatch)
    texts = [f"{i}\n\r\n{i}" for i in range(200)]
    rows = "".join(f'{i},"{text}"\n\n' for i, text in enumerate(texts))
    found = read(text_file(tmp_path, "n,text\n" + rows, name=name))
    assert found == {"n": list(range(200)), "text": texts}


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_ends(tmp_path, monkeypatch, end):
    small_blocks(monkeypatch, 7)  # Cuts between \r and \n, too.
    file = text_file(tmp_path, end.join(["a,b", *["12,3"] * 9]))
    assert read(file) == {"a": [12] * 9, "b": [3] * 9}


@pytest.mark.parametrize(
    ("rows", "line"),
    [
        ('1,x\n2,"y\n3,z\n4,z\n', 3),
        ('1,x\n2,"y\n3,z\n4,"z\n5,z\n', 3),
        ('1,"x\ny"\n2,x\n3,"y\n4,z"z\n', 5),
    ],
)
def test_a_quote_swallows_no_rows(tmp_path, rows, line):
    file = text_file(tmp_path, "n,text\n" + rows)
    with pytest.raises(ValueError, match=f"a.csv must close.*row {line}:"):
        read(file)


def test_odd_quotes_within_a_line_are_read(tmp_path):
    file = text_file(tmp_path, 'n,text\n1,5" disk\n2,"a"b\n3,"c\nd"\n4,"e')
    assert read(file)["text"] == ['5" disk', "ab", "c\nd", "e"]


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])
@pytest.mark.parametrize("names", [None, ["n", "text"]])
def test_names_the_line_of_a_bad_value(tmp_path, monkeypatch, name, names):
    small_blocks(monkeypatch)
    rows = ["n,text"] * (names is None) + [f"{i},x" for i in range(500)]
    rows[3] = '3,"a\nb\rc"\n'
    rows[400] = "4x,y"
    file = text_file(tmp_path, "\n".join(rows), names, name)
    with pytest.raises(
        ValueError, match=rf"'n' of .*{name} .*whole numbers.*row 404: '4x'"
    ):
        read(file, n=pa.int64(), text=pa.string())


def test_names_the_line_of_bytes_that_are_no_text(tmp_path):
    file = text_file(tmp_path, b"n,text\n1,a\n2,\xffb\n")
    assert file.types()["text"] == pa.string()
    with pytest.raises(ValueError, match=r"'text'.*UTF-8.*row 3: '.*xffb'"):
        read(file)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n\n1\n", "hold 2 values in each row.*row 4: 1 in '1'"),
        ("a,b\n" + "1,2\n" * 500 + "1,2,3\n", "row 502: 3 in '1,2,3'"),
        ("a,b\n1,2\nIn CSV column #0: x\n", "row 3: 1 in 'In CSV"),
        ("a,b\n1,2\n1,2," + "x" * 200 + "\n", r"row 3: 3 in '1,2,x+… \(204"),
        ("a,b\n1,2\n1," + "x" * 900 + "\n", "at most 300 bytes.*row 3"),
        ("a,b", "a.csv holds no row"),
        ("\n\n", "a.csv holds no row"),
        ("a,a\n1,2\n", "a.csv must name each column once.*'a'"),
        (b"a,\xff\n1,2\n", "a.csv cannot be read.*utf-8"),
        ("a,b\n1,2\n".encode("utf-16"), "a.csv"),
    ],
)
def test_one_line_that_names_the_place(tmp_path, monkeypatch, text, message):
    small_blocks(monkeypatch)
    with pytest.raises(ValueError, match=message) as caught:
        read(text_file(tmp_path, text))
    assert not isinstance(caught.value, pa.ArrowException | UnicodeError)
    assert len(str(caught.value).splitlines()) == 1


def test_ids_beyond_64_bits_are_text(tmp_path):
    file = text_file(
        tmp_path,
        "id,some,price,n\n"
        "18446744073709551615,9223372036854775808,1.5,1\n"
        "18446744073709551614,NA,9223372036854775808,2\n",
    )
    kinds = {"id": "string", "some": "string", "price": "double", "n": "int64"}
    assert {name: str(kind) for name, kind in file.types().items()} == kinds
    assert read(file)["id"] == ["18446744073709551615", "18446744073709551614"]


def test_long_first_rows(tmp_path, monkeypatch):
    monkeypatch.setattr("mec_tf.data.text_file._FIRST_BLOCK_BYTES", 100)
    file = text_file(tmp_path, "a,b\n" + "x" * 5000 + ",1\ny,2\n")
    assert read(file) == {"a": ["x" * 5000, "y"], "b": [1, 2]}


def test_million_characters(tmp_path):
    long = "é" * 500_000 + '"' * 500_000
    quoted = long.replace('"', '""')
    file = text_file(tmp_path, f'a,b\n"{quoted}",1\ny,2\n')
    assert read(file) == {"a": [long, "y"], "b": [1, 2]}


def test_a_file_that_cannot_be_opened(tmp_path, monkeypatch):
    file = text_file(tmp_path, "a,b\n1,2\n")

    def refuse(path):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(pa, "OSFile", refuse)
    with pytest.raises(ValueError, match="a.csv cannot be read.*Permission"):
        file.types()


def test_damaged_gzip(tmp_path):
    text = "a,b\n" + "1,2\n" * 50_000
    file = text_file(tmp_path, text, name="a.csv.gz")
    whole = file.path.read_bytes()
    rng = np.random.default_rng(0)
    for cut in rng.integers(1, len(whole) - 1, 20):
        file.path.write_bytes(whole[:cut])
        with pytest.raises(ValueError, match=r"a.csv.gz (cannot|holds no)"):
            read(file, a=pa.int64())
    file.path.write_bytes(text.encode())
    with pytest.raises(ValueError, match="a.csv.gz cannot be read"):
        file.types()


def test_missing_column(tmp_path):
    file = text_file(tmp_path, "a,b\n1,2\n")
    with pytest.raises(ValueError, match="a.csv has no column 'c'.*'a', 'b'"):
        read(file, c=pa.int64())


def test_line_of_a_file_that_is_gone():
    assert TextFile(pathlib.Path("gone.csv"), ",").line(3) is None
