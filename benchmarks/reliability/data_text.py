"""Fuzzed CSV and TSV logs, one function a kind of trouble."""

from __future__ import annotations

import csv

import numpy as np

from benchmarks.reliability.data_case import (
    OPTIONS,
    Case,
    base,
    damaged,
    save,
    save_text,
    style,
    to_csv,
)
from mec_tf.data import ByValueSplit, Schema, TemporalSplit

NASTY = (
    *("", " ", "NA", "null", "NaN", "-nan", "n/a", "None", "#N/A", "inf"),
    *("-Infinity", "1e400", "-1e400", "1e39", "1e-400", "5.0", "1e3", ".5"),
    *("9223372036854775807", "9223372036854775808", "-9223372036854775809"),
    *("18446744073709551615", "9007199254740993", "3000000000", "-0", "007"),
    *("0x1f", "+5", " 5 ", "1_000", "１２", "٣", "1,5", "true", "False"),
    *("2024-01-01", "2024-13-45 99:99", "12:30", "a\0b", "\0", "\r", "\r\n"),
    *("a\nb", '"', '""', "'", "\\", "\\N", "﻿", "\x1a", "\x85", "\u2028"),
    *("=1+1", "é", "é", "‮abc", "👩‍👩‍👧", "x" * 5000, "1" * 400),
)
BAD_UTF8 = (
    b"\xff",
    b"\xc3",
    b"\xe2\x82",
    b"\xed\xa0\x80",
    b"\xc0\xaf",
    b"\x80",
)


def clean(rng, folder):
    data = to_csv(base(rng), **style(rng))
    return Case(save_text(rng, folder, data), OPTIONS, "result")


def any_damage(rng, folder):
    data = damaged(rng, to_csv(base(rng), **style(rng)))
    return Case(save_text(rng, folder, data), OPTIONS)


def cut_off(rng, folder):
    data = to_csv(base(rng), **style(rng))
    data = data[: int(rng.integers(len(data)))]
    return Case(save_text(rng, folder, data), OPTIONS)


def wrong_delimiter(rng, folder):
    written, told = rng.choice([",", ";", "\t", "|", " ", ":"], 2).tolist()
    data = to_csv(base(rng), delimiter=written, **style(rng))
    options = OPTIONS | {"delimiter": told}
    return Case(
        save_text(rng, folder, data),
        options,
        "result" if written == told else None,
    )


def odd_delimiter(rng, folder):
    odd = ["", ",,", "é", "\n", "\r", '"', "\0", "\\t", "ab", "1", "c", "."]
    delimiter = str(rng.choice(odd))
    data = to_csv(base(rng))
    wants = "error" if delimiter not in "1c." or not delimiter else None
    return Case(
        save_text(rng, folder, data),
        OPTIONS | {"delimiter": delimiter},
        wants,
        ("`delimiter`",) if wants else (),
    )


def mixed_types(rng, folder):
    columns = base(rng)
    names = list(columns)
    for _ in range(int(rng.integers(1, 4))):
        column = columns[names[int(rng.integers(len(names)))]]
        value = NASTY[int(rng.integers(len(NASTY)))]
        if rng.random() < 0.2:
            column[:] = [value] * len(column)
        column[int(rng.integers(len(column)))] = value
    return Case(save_text(rng, folder, to_csv(columns, **style(rng))), OPTIONS)


def one_kind_of_nasty(rng, folder):
    """A column all of odd values, and one of ids that must stay text."""
    columns = base(rng)
    n = len(columns["click"])
    pool = rng.choice(len(NASTY), 4)
    for name in ("user", "city"):
        columns[name] = [NASTY[int(i)] for i in rng.choice(pool, n)]
    options = OPTIONS | {"strings": ["user"]}
    return Case(save_text(rng, folder, to_csv(columns, **style(rng))), options)


def bad_number(rng, folder):
    """Text in a column that is declared a number: the place is known."""
    columns = base(rng)
    place = int(rng.integers(len(columns["age"])))
    value = str(rng.choice(["old", "1,5", "12 34", "0b1", "--3", "a\0"]))
    columns["age"][place] = value
    path = save_text(rng, folder, to_csv(columns, **style(rng)))
    names = ("'age'", path.name, f"in row {place + 2}: ")
    return Case(path, OPTIONS, "error", names)


def bad_id(rng, folder):
    """Rows behind the first block, which decides that ids are numbers."""
    columns = base(rng, 30_000)
    place = int(rng.integers(29_000, 30_000))
    value = str(rng.choice(["x", "3.5", "9223372036854775808", "1e3"]))
    columns["user"][place] = value
    columns["city"] = [city + "·" * 20 for city in columns["city"]]
    path = save_text(rng, folder, to_csv(columns, **style(rng)))
    names = ("'user'", path.name, f"in row {place + 2}: '{value}'")
    return Case(path, OPTIONS, "error", names)


def beyond_int64(rng, folder):
    """64-bit hashes without sign must neither lose digits nor become prices."""
    columns = base(rng)
    hashes = rng.integers(2**63, 2**64 - 1, 6, np.uint64).tolist()
    n = len(columns["user"])
    columns["user"] = [int(i) for i in rng.choice(hashes, n)]
    columns["item"] = rng.choice([str(2**53 + 1), str(2**53)], n).tolist()
    if rng.integers(2):
        columns["item"][0] = "7.0"
    path = save_text(rng, folder, to_csv(columns))
    if rng.integers(2):
        return Case(path, OPTIONS)
    schema = Schema("click", ("item", "city"), ("age",))
    return Case(path, {"label": "click", "schema": schema})


def label(rng, folder):
    columns = base(rng)
    wrong = ["2", "-1", "0.5", "yes", "", "nan", "1e-50", "0x2", "inf", "1e400"]
    value = str(rng.choice(wrong))
    place = int(rng.integers(len(columns["click"])))
    columns["click"][place] = value
    path = save_text(rng, folder, to_csv(columns, **style(rng)))
    # Words make the whole column words: then its first row is wrong.
    row = 2 if value in ("yes", "0x2") else place + 2
    names = ("'click'", path.name, f"in row {row}: ")
    return Case(path, OPTIONS, "error", names if value != "0x2" else names[:2])


def label_spelling(rng, folder):
    columns = base(rng)
    pairs = [("true", "false"), ("1.0", "0.0"), (" 1", "0"), ("True", "False")]
    one, zero = pairs[int(rng.integers(len(pairs)))]
    columns["click"] = [one if c else zero for c in columns["click"]]
    return Case(save_text(rng, folder, to_csv(columns)), OPTIONS)


def bad_utf8(rng, folder):
    data = to_csv(base(rng), **style(rng))
    lines = data.splitlines(keepends=True)
    place = int(rng.integers(len(lines)))
    spot = lines[place].find(b",") + 1
    column = int(rng.integers(6))
    for _ in range(max(column - 1, 0)):
        spot = lines[place].find(b",", spot) + 1
    bad = BAD_UTF8[int(rng.integers(len(BAD_UTF8)))]
    lines[place] = lines[place][:spot] + bad + lines[place][spot:]
    path = save_text(rng, folder, b"".join(lines))
    return Case(path, OPTIONS, "error", (path.name,))


def bad_utf8_text(rng, folder):
    columns = base(rng)
    place = int(rng.integers(len(columns["city"])))
    columns["city"][place] = "\udcff" + columns["city"][place]
    path = save_text(rng, folder, to_csv(columns, **style(rng)))
    names = ("'city'", path.name, f"in row {place + 2}: ", "UTF-8")
    return Case(path, OPTIONS, "error", names)


def byte_order_mark(rng, folder):
    data = to_csv(base(rng), **style(rng))
    text = data.decode()
    kind = int(rng.integers(5))
    encodings = ("utf-16", "utf-16-le", "utf-16-be", "utf-32")
    if kind == 4:
        data, wants = b"\xef\xbb\xbf" + data, "result"
    else:
        data, wants = text.encode(encodings[kind]), "error"
    return Case(save_text(rng, folder, data), OPTIONS, wants, ("a.csv",))


def nul(rng, folder):
    data = bytearray(to_csv(base(rng), **style(rng)))
    for _ in range(int(rng.integers(1, 5))):
        data[int(rng.integers(len(data)))] = 0
    return Case(save_text(rng, folder, bytes(data)), OPTIONS)


def newlines(rng, folder):
    """Line breaks in quoted values: kept, not cut, not rows of their own."""
    columns = base(rng)
    breaks = ["\n", "\r\n", "\r", "\n\n", "\nx,1\n"]
    for place in rng.integers(0, len(columns["city"]), 5).tolist():
        columns["city"][place] = "a" + str(rng.choice(breaks)) + "b"
    data = to_csv(columns, quoting=csv.QUOTE_ALL)
    return Case(save_text(rng, folder, data), OPTIONS, "result")


def newlines_and_a_bad_value(rng, folder):
    """The line is still found behind values of several lines."""
    columns = base(rng)
    columns["city"][3] = "a\nb\r\nc"
    place = int(rng.integers(10, len(columns["age"])))
    columns["age"][place] = "old"
    path = save_text(rng, folder, to_csv(columns))
    names = ("'age'", path.name, f"in row {place + 4}: 'old'")
    return Case(path, OPTIONS, "error", names)


def line_ends(rng, folder):
    """Old Mac's, mixed and empty lines."""
    lines = to_csv(base(rng)).splitlines()
    ends = [b"\n", b"\r\n", b"\r", b"\n\n", b"\r\n\r\n"]
    data = b"".join(
        line + ends[int(i)]
        for line, i in zip(lines, rng.integers(0, 5, len(lines)), strict=True)
    )
    return Case(save_text(rng, folder, data), OPTIONS, "result")


def unbalanced_quotes(rng, folder):
    data = bytearray(to_csv(base(rng), **style(rng)))
    for _ in range(int(rng.integers(1, 4))):
        at = int(rng.integers(len(data)))
        if rng.integers(2):
            data[at:at] = b'"'
        else:
            data[at : at + 1] = b'"'
    return Case(save_text(rng, folder, bytes(data)), OPTIONS)


def open_quote(rng, folder):
    """A quote that opens and never closes must not swallow the rest."""
    columns = base(rng)
    columns["city"] = ["Rome"] * (len(columns["city"]) - 2) + ["Bern", "Bern"]
    lines = to_csv(columns).splitlines(keepends=True)
    place = int(rng.integers(1, len(lines) - 2))
    lines[place] = lines[place].replace(b"Rome", b'"Rome').replace(
        b"Bern", b'"Bern'
    )  # fmt: skip
    path = save_text(rng, folder, b"".join(lines))
    return Case(path, OPTIONS, "error", (path.name, f"in row {place + 1}"))


def swallowed_rows(rng, folder):
    """A quote that a later row closes, with the right number of values."""
    columns = {k: v for k, v in base(rng).items() if k in ("click", "city")}
    columns["city"] = rng.choice(["Rome", "Oslo", "Bern"], 80).tolist()
    columns["click"] = [0, 1] * 40
    lines = to_csv(columns).splitlines(keepends=True)
    first = int(rng.integers(1, 40))
    last = first + int(rng.integers(1, 30))
    lines[first] = lines[first].replace(b",", b',"')
    lines[last] = lines[last].replace(b",", b',"')
    path = save_text(rng, folder, b"".join(lines))
    names = (path.name, f"in row {first + 1}")
    return Case(path, {"label": "click"}, "error", names)


def ragged(rng, folder):
    lines = to_csv(base(rng), **style(rng)).splitlines(keepends=True)
    place = int(rng.integers(1, len(lines)))
    line = lines[place]
    actions = [
        line[line.find(b",") + 1 :],
        b"1," + line,
        b"1\n",
        b"   \n",
        b"," * 40 + b"\n",
    ]
    lines[place] = actions[int(rng.integers(len(actions)))]
    path = save_text(rng, folder, b"".join(lines))
    return Case(path, OPTIONS, "error", (path.name, f"in row {place + 1}: "))


def header(rng, folder):
    columns = base(rng)
    names = list(columns)
    place = int(rng.integers(len(names)))
    odd = [
        "",
        " ",
        "user",
        "click",
        "a.b",
        'a"b',
        "a\nb",
        "名",
        "\0",
        "x" * 999,
    ]
    names[place] = odd[int(rng.integers(len(odd)))]
    path = save_text(rng, folder, to_csv(columns, names=names, **style(rng)))
    options = OPTIONS if "age" in names else {"label": "click"}
    return Case(path, options)


def no_header(rng, folder):
    columns = base(rng)
    path = save_text(rng, folder, to_csv(columns, header=False))
    if rng.integers(2):
        return Case(path, OPTIONS, "error", (path.name, "'click'"))
    names = list(columns)
    wants: str | None = "result"
    if rng.integers(2):
        names = names[: int(rng.integers(1, 6))]
        wants = "error"
    options = {"label": "click", "column_names": names}
    return Case(path, options, wants, (path.name,))


def empty(rng, folder):
    contents = [b"", b"\n", b"\n\n\n", b" ", b"\xef\xbb\xbf", b"\0", b",,,\n"]
    contents += [
        b"click,user",
        b"click,user\n",
        b"click,user\n\n\n",
        b'"',
        b'""',
    ]
    data = contents[int(rng.integers(len(contents)))]
    path = save_text(rng, folder, data)
    return Case(path, {"label": "click"}, "error", (path.name,))


def long_field(rng, folder):
    columns = base(rng, 60)
    size = int(rng.choice([200_000, 1_000_000, 1_500_000]))
    value = str(rng.choice(["x", "9", '"', "\n", "é"])) * size
    place = int(rng.integers(60))
    name = str(rng.choice(["city", "city", "user", "age", "click"]))
    columns[name][place] = value
    data = to_csv(columns)
    if rng.integers(4) == 0:
        data = data.replace(b"price", b"p" * size, 1)
    return Case(save_text(rng, folder, data), OPTIONS)


def long_row(rng, folder):
    """Longer than a block: refused, by its place."""
    columns = base(rng, 60)
    columns["note"] = ["short"] * 59 + [None]
    columns["other"] = ["x" * 1_000_000 if i == 50 else "y" for i in range(60)]
    place = 40
    columns["note"][place] = "z" * 9_000_000
    path = save_text(rng, folder, to_csv(columns))
    return Case(path, OPTIONS, "error", (path.name, f"in row {place + 2}"))


def wide(rng, folder):
    columns = base(rng, 60)
    for i in range(int(rng.integers(50, 400))):
        columns[f"c{i}"] = rng.integers(0, 5, 60).tolist()
    return Case(save_text(rng, folder, to_csv(columns)), OPTIONS)


def wrong_options(rng, folder):
    path = save(folder / "a.csv", to_csv(base(rng)))
    choices = [
        {"label": "clack"},
        {"label": "city"},
        {"label": "price"},
        {"label": "click", "drop": ["nope"]},
        {"label": "click", "numeric": ["city"]},
        {"label": "click", "drop": ["user", "item", "city", "price", "age"]},
    ]
    choice = choices[int(rng.integers(len(choices)))]
    return Case(path, choice, "error")


def times(rng, folder):
    """Times of odd formats in the column that orders the rows."""
    columns = base(rng)
    n = len(columns["click"])
    days = [f"2024-01-{1 + i * 28 // n:02}" for i in range(n)]
    formats = ["{}", "{}T10:00:00", "{} 10:00:00Z", "{} 10:00:00.5", "{} 10:00"]
    formats += ["20240101", "{}T10:00:00+01:00", "01/02/2024", "Jan 1", "10:30"]
    form = formats[int(rng.integers(len(formats)))]
    columns["day"] = [form.format(day) for day in days]
    if rng.integers(2):
        odd = ["", "NA", "0000-00-00", "2024-02-30", "9999-99-99", "x", "1"]
        columns["day"][int(rng.integers(n))] = str(rng.choice(odd))
    by_days = ByValueSplit("day", 3, (0,), (1,))
    split = TemporalSplit("day") if rng.integers(2) else by_days
    path = save_text(rng, folder, to_csv(columns))
    return Case(path, OPTIONS | {"split": split})


def tsv(rng, folder):
    """Tabs, quotes in the middle of values."""
    columns = base(rng)
    columns["city"] = ['5" disk' if c else "12'" for c in columns["click"]]
    rows = zip(*columns.values(), strict=True)
    lines = ["\t".join(columns)]
    lines += ["\t".join("" if v is None else str(v) for v in r) for r in rows]
    ending = str(rng.choice(["a.tsv", "a.txt", "a.tsv.gz", "A.TSV"]))
    path = save(folder / ending, ("\n".join(lines) + "\n").encode())
    return Case(path, OPTIONS, "result")


KINDS = (
    *(clean, any_damage, cut_off, wrong_delimiter, odd_delimiter, mixed_types),
    *(one_kind_of_nasty, bad_number, bad_id, beyond_int64, label),
    *(label_spelling, bad_utf8, bad_utf8_text, byte_order_mark, nul, newlines),
    *(newlines_and_a_bad_value, line_ends, unbalanced_quotes, open_quote),
    *(swallowed_rows, ragged, header, no_header, empty, long_field, long_row),
    *(wide, wrong_options, times, tsv),
)
