import pyarrow as pa
import pytest

from mec_tf.data.column_error import ColumnError
from mec_tf.data.wording import cut, first_failing, listed, one_line, shown


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a\nb", r"'a\nb'"),
        (b"a\xff", r"'a\\xff'"),
        (2.0, "2.0"),
        (10**9, "1000000000"),
    ],
)
def test_shown(value, text):
    assert shown(value) == text


def test_all_is_of_bounded_length():
    assert shown("x" * 10**6).endswith("x… (1,000,000 characters)'")
    assert len(shown(10**5000)) < 200
    assert cut("abcdef", 3) == "abc… (6 characters)"
    assert listed(["a"] * 1000).endswith("'a' and 980 more")
    assert listed(["a", "b"]) == "'a', 'b'"
    assert one_line(" a\n\tb\0\x1b\x85c\n") == "a b?? c"
    assert len(one_line("x" * 10**6)) < 400


@pytest.mark.parametrize("bad", [0, 1, 37, 99])
def test_first_failing(bad):
    values = pa.array(["1"] * bad + ["x"] * (100 - bad))
    assert first_failing(values, lambda part: part.cast(pa.int64())) == bad


def test_column_error():
    error = ColumnError("user", "a.csv", pa.int64(), "'x'", 7)
    assert str(error).startswith("Column 'user' of a.csv must hold whole num")
    assert str(error).endswith(
        "`strings` if it is text. Received in row 7: 'x'"
    )
    assert "row" not in str(ColumnError("u", "a.csv", "double", "'x'"))
