"""Fuzzed Parquet logs, one function a kind of trouble."""

from __future__ import annotations

import datetime
import decimal

import numpy as np
import pyarrow as pa

from benchmarks.reliability.data_case import (
    OPTIONS,
    Case,
    base,
    damaged,
    save,
    save_parquet,
    to_csv,
    to_table,
)
from mec_tf.data import TemporalSplit


def clean(rng, folder):
    path = save_parquet(rng, folder / "a.parquet", to_table(base(rng)))
    return Case(path, OPTIONS, "result")


def cut_off(rng, folder):
    path = save_parquet(rng, folder / "a.parquet", to_table(base(rng)))
    data = path.read_bytes()
    path.write_bytes(data[: int(rng.integers(len(data)))])
    return Case(path, OPTIONS, "error", ("a.parquet",))


def any_damage(rng, folder):
    path = save_parquet(rng, folder / "a.parquet", to_table(base(rng)))
    path.write_bytes(damaged(rng, path.read_bytes()))
    return Case(path, OPTIONS)


def flipped(rng, folder):
    """Single bits, which codecs and thrift often let pass."""
    path = save_parquet(rng, folder / "a.pq", to_table(base(rng)))
    data = bytearray(path.read_bytes())
    for _ in range(int(rng.integers(1, 4))):
        data[int(rng.integers(len(data)))] ^= 1 << int(rng.integers(8))
    path.write_bytes(data)
    return Case(path, OPTIONS)


def flipped_footer(rng, folder):
    path = save_parquet(rng, folder / "a.parquet", to_table(base(rng)))
    data = bytearray(path.read_bytes())
    size = int.from_bytes(data[-8:-4], "little") + 8
    for _ in range(int(rng.integers(1, 4))):
        data[-int(rng.integers(1, size + 1))] = int(rng.integers(256))
    path.write_bytes(data)
    return Case(path, OPTIONS)


def foreign(rng, folder):
    contents = [b"PAR1", b"PAR1PAR1", b"PAR1" + b"\xff" * 8 + b"PAR1", b"x"]
    contents += [to_csv(base(rng)), rng.bytes(1000), b"\0" * 100]
    contents += [b"PAR1" + rng.bytes(500) + b"\xf0\1\0\0PAR1"]
    data = contents[int(rng.integers(len(contents)))]
    path = save(folder / "a.parquet", data)
    return Case(path, OPTIONS, "error", ("a.parquet",))


def bad_utf8(rng, folder):
    """Parquet does not check text; nothing may come of what is none."""
    table = to_table(base(rng))
    raw = [city.encode() for city in table["city"].to_pylist()]
    place = int(rng.integers(len(raw)))
    raw[place] = b"\xff" + raw[place]
    text = pa.array(raw, pa.binary()).view(pa.string())
    table = table.set_column(3, "city", text)
    path = save_parquet(rng, folder / "a.parquet", table)
    names = ("'city'", "a.parquet", f"in row {place + 1}: ")
    return Case(path, OPTIONS, "error", names)


def one_kind(rng, folder):
    """A column of any Arrow type, as an id, a number, the label or the time."""
    columns = base(rng)
    n = len(columns["click"])
    array = _array(rng, n)
    table = to_table(columns)
    role = str(rng.choice(["extra", "extra", "user", "age", "click", "time"]))
    options = dict(OPTIONS)
    if role == "extra":
        table = table.append_column("extra", array)
    elif role == "time":
        table = table.append_column("when", array)
        options["split"] = TemporalSplit("when")
    else:
        place = table.schema.names.index(role)
        table = table.set_column(place, role, array)
    if rng.integers(4) == 0 and role in ("extra", "user"):
        options["strings"] = [role]
    if rng.integers(4) == 0 and role == "extra":
        options["numeric"] = ["age", "extra"]
    path = save_parquet(rng, folder / "a.parquet", table)
    return Case(path, options)


def _array(rng, n):
    """A column of one of many types, at times with missing values."""
    small = rng.integers(0, 4, n)
    ints = [int(i) for i in small]
    words = [f"w{i}" for i in ints]
    day = datetime.date(2024, 1, 1)
    makers = {
        "list": lambda: pa.array([[i] * i for i in ints], pa.list_(pa.int64())),
        "texts": lambda: pa.array([[w] for w in words]),
        "fixed list": lambda: pa.array(
            [[i, i] for i in ints], pa.list_(pa.int32(), 2)
        ),
        "struct": lambda: pa.array([{"x": i, "y": "z"} for i in ints]),
        "map": lambda: pa.array(
            [[("k", i)] for i in ints], pa.map_(pa.string(), pa.int64())
        ),
        "decimal": lambda: pa.array(
            [decimal.Decimal(i) / 4 for i in ints], pa.decimal128(9, 2)
        ),
        "wide decimal": lambda: pa.array(
            [decimal.Decimal(10) ** (60 + i) for i in ints],
            pa.decimal256(70, 0),
        ),
        "date32": lambda: pa.array([day.replace(day=1 + i) for i in ints]),
        "date64": lambda: pa.array(small * 86_400_000, pa.date64()),
        "any date": lambda: pa.array(
            rng.integers(-(2**31), 2**31, n).astype(np.int32), pa.date32()
        ),
        "time32": lambda: pa.array(ints, pa.time32("s")),
        "time64": lambda: pa.array(ints, pa.time64("ns")),
        "duration": lambda: pa.array(ints, pa.duration("ms")),
        "seconds": lambda: pa.array(ints, pa.timestamp("ms")),
        "zoned": lambda: pa.array(ints, pa.timestamp("us", "Europe/Oslo")),
        "no zone": lambda: pa.array(ints, pa.timestamp("us", "Mars/Base")),
        "any time": lambda: pa.array(
            rng.integers(-(2**63), 2**63 - 1, n), pa.timestamp("us")
        ),
        "words": lambda: pa.array(words).dictionary_encode(),
        "categories": lambda: pa.array(ints).dictionary_encode(),
        "null": lambda: pa.nulls(n),
        "binary": lambda: pa.array([w.encode() for w in words]),
        "raw": lambda: pa.array([b"\xff\0" + bytes([i]) for i in ints]),
        "fixed": lambda: pa.array([b"ab"] * n, pa.binary(2)),
        "bool": lambda: pa.array(small % 2 == 1),
        "uint64": lambda: pa.array(
            rng.integers(2**63, 2**64 - 1, n, np.uint64) // 7 * 7
        ),
        "int8": lambda: pa.array(small.astype(np.int8)),
        "half": lambda: pa.array(small.astype(np.float16)),
        "float": lambda: pa.array(small.astype(np.float32) * 3),
        "double": lambda: pa.array((small + 2.0**53).astype(float)),
        "odd": lambda: pa.array(
            rng.choice([np.nan, np.inf, -np.inf, 1e300, 1e39, 0.5, -0.0], n)
        ),
        "large": lambda: pa.array(words, pa.large_string()),
        "view": lambda: pa.array(words, pa.string_view()),
        "numbers as text": lambda: pa.array([str(i) for i in ints]),
        "floats as text": lambda: pa.array([f"{i}.5" for i in ints]),
        "spaces": lambda: pa.array([" " * i for i in ints]),
        "odd text": lambda: pa.array(["a\0b", "\n", "é", "東", ""] * n)[:n],
    }
    kinds = sorted(makers)
    array = makers[kinds[int(rng.integers(len(kinds)))]]()
    if rng.integers(2):  # Some missing.
        present = rng.random(n) < 0.9
        places = pa.array(np.arange(n), mask=~present)
        try:
            array = array.take(places)
        except pa.ArrowNotImplementedError:
            pass
    return array


def names(rng, folder):
    """Column names with dots, breaks, none, twice."""
    table = to_table(base(rng))
    found = table.schema.names
    odd = ["", "user", "click.x", "a.b", "a\nb", "\0", "名", "x" * 999]
    found[int(rng.integers(len(found)))] = odd[int(rng.integers(len(odd)))]
    table = table.rename_columns(found)
    if rng.integers(2):
        nested = pa.array([{"b": 1}] * len(table))
        table = table.append_column("a", nested)
    path = save_parquet(rng, folder / "a.parquet", table)
    options = OPTIONS if "age" in found else {"label": "click"}
    if rng.integers(2):
        options = options | {"drop": ["a"]}
    return Case(path, options)


def no_rows(rng, folder):
    table = to_table(base(rng)).slice(0, 0)
    path = save_parquet(rng, folder / "a.parquet", table)
    return Case(path, OPTIONS, "error", ("a.parquet",))


def label(rng, folder):
    table = to_table(base(rng))
    place = int(rng.integers(len(table)))
    values = table["click"].to_pylist()
    odd = [2, -1, None, 0.5, 1e-50, float("nan"), float("inf")]
    value = odd[int(rng.integers(len(odd)))]
    values = [float(v) for v in values] if isinstance(value, float) else values
    values[place] = value
    table = table.set_column(0, "click", pa.array(values))
    path = save_parquet(rng, folder / "a.parquet", table)
    names = ("'click'", "a.parquet", f"in row {place + 1}: ")
    return Case(path, OPTIONS, "error", names)


def bad_id(rng, folder):
    """Ids as text in a later shard, where the first has numbers."""
    first, second = to_table(base(rng)), base(rng)
    odd = ["x", "1.5", "9223372036854775808", "1e3"]
    place = int(rng.integers(len(second["user"])))
    second["user"] = [str(i) for i in second["user"]]
    second["user"][place] = value = str(rng.choice(odd))
    paths = [
        save_parquet(rng, folder / "a.parquet", first),
        save_parquet(rng, folder / "b.parquet", to_table(second)),
    ]
    names = ("'user'", "b.parquet", f"in row {place + 1}: '{value}'")
    return Case(paths, OPTIONS, "error", names)


KINDS = (
    *(clean, cut_off, any_damage, flipped, flipped_footer, foreign, bad_utf8),
    *(one_kind, one_kind, one_kind, names, no_rows, label, bad_id),
)
