"""Fuzzed shards, paths, gzip files and lists of interactions."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os

import pyarrow as pa

from benchmarks.reliability.data_case import (
    OPTIONS,
    Case,
    base,
    damaged,
    save,
    save_parquet,
    style,
    to_csv,
    to_table,
)
from mec_tf.data import FileSplit, RandomSplit, TemporalSplit


def shards(rng, folder):
    """Good ones, of several kinds, their columns in any order."""
    paths = []
    for i in range(int(rng.integers(2, 5))):
        columns = base(rng)
        order = rng.permutation(list(columns)).tolist()
        columns = {name: columns[name] for name in order}
        ending = str(rng.choice([".csv", ".csv.gz", ".parquet"]))
        path = folder / f"{i}{ending}"
        if ending == ".parquet":
            save_parquet(rng, path, to_table(columns))
        else:
            save(path, to_csv(columns, **style(rng)))
        paths.append(path)
    split = RandomSplit() if rng.integers(2) else TemporalSplit()
    given = folder if rng.integers(2) else paths
    return Case(given, OPTIONS | {"split": split}, "result")


def empty_shard(rng, folder):
    """Among good ones: named, not passed over."""
    for i in (0, 2):
        save(folder / f"{i}.csv", to_csv(base(rng)))
    kind = int(rng.integers(6))
    if kind == 0:
        bad = save_parquet(
            rng, folder / "1.parquet", to_table(base(rng)).slice(0, 0)
        )
    else:
        contents = [b"", to_csv(base(rng)).split(b"\n")[0] + b"\n", b"\n", b" "]
        data = contents[int(rng.integers(len(contents)))]
        name = "1.csv.gz" if kind == 1 else "1.csv"
        bad = save(folder / name, data)
    return Case(folder, OPTIONS, "error", (bad.name,))


def other_columns(rng, folder):
    """A later shard that lacks, renames or doubles a column, or has more."""
    first, second = base(rng), base(rng)
    name = str(rng.choice(list(second)))
    kind = int(rng.integers(4))
    header = list(second)
    wants = "error"
    if kind == 0:
        del second[name]
        header.remove(name)
    elif kind == 1:
        header[header.index(name)] = name.upper()
    elif kind == 2:
        header[header.index(name)] = "age" if name != "age" else "user"
    else:
        second["more"] = second["user"]
        header.append("more")
        wants = "result"
    a = save(folder / "a.csv", to_csv(first))
    if rng.integers(2):
        table = to_table(second).rename_columns(header)
        b = save_parquet(rng, folder / "b.parquet", table)
    else:
        b = save(folder / "b.csv", to_csv(second, names=header, **style(rng)))
    return Case([a, b], OPTIONS, wants, (b.name,))


def other_types(rng, folder):
    """A later shard whose column is of another type."""
    first, second = to_table(base(rng)), to_table(base(rng))
    kinds = [
        *(pa.string(), pa.float64(), pa.int8(), pa.timestamp("s"), pa.date32()),
        *(pa.bool_(), pa.decimal128(30, 2), pa.uint64(), pa.timestamp("ns")),
        *(pa.duration("s"), pa.binary(), pa.large_string()),
    ]
    tables = [first, second]
    name = str(rng.choice(first.schema.names))
    for at in {int(rng.integers(2)), int(rng.integers(2))}:
        kind = kinds[int(rng.integers(len(kinds)))]
        place = first.schema.names.index(name)
        try:
            column = tables[at][name].cast(kind, safe=False)
        except pa.ArrowException:
            continue
        tables[at] = tables[at].set_column(place, name, column)
    paths = [
        save_parquet(rng, folder / f"{i}.parquet", table)
        for i, table in enumerate(tables)
    ]
    return Case(paths, OPTIONS)


def time_units(rng, folder):
    """Shards whose times are in other units must not be mixed up."""
    tables = []
    start = 1_700_000_000
    for _ in range(2):
        columns = base(rng)
        n = len(columns["click"])
        table = to_table(columns)
        unit = str(rng.choice(["s", "ms", "us", "ns"]))
        when = pa.array(range(start, start + n * 3600, 3600), pa.timestamp("s"))
        start += n * 3600
        tables.append(
            table.append_column("when", when.cast(pa.timestamp(unit)))
        )
    paths = [
        save_parquet(rng, folder / f"{i}.parquet", table)
        for i, table in enumerate(tables)
    ]
    options = OPTIONS | {"split": TemporalSplit("when")}
    return Case(paths, options)


def gzipped(rng, folder):
    good = gzip.compress(to_csv(base(rng)), 1)
    half = len(good) // 2
    name, wants = "a.csv.gz", "error"
    kind = int(rng.integers(8))
    if kind == 0:
        data = good[: int(rng.integers(1, len(good)))]
    elif kind == 1:
        data, wants = damaged(rng, good), None
    elif kind == 2:
        data, wants = good[:half] + gzip.compress(b"\n") + good[half:], None
    elif kind == 3:  # Several members are one text.
        text = to_csv(base(rng))
        data = gzip.compress(text[:200]) + gzip.compress(text[200:])
        wants = "result"
    elif kind == 4:
        data, wants = good + rng.bytes(30), None
    elif kind == 5:
        data = to_csv(base(rng))
    elif kind == 6:
        data = gzip.compress(b"")
    else:
        data, name = good, "a.csv"
    path = folder / name
    path.write_bytes(data)
    return Case(path, OPTIONS, wants, (name,))


def paths(rng, folder):
    """Not a file, or none that can be read."""
    good = save(folder / "a.csv", to_csv(base(rng)))
    (folder / "empty").mkdir()
    (folder / "dir.csv").mkdir()
    (folder / "loop.csv").symlink_to(folder / "loop.csv")
    (folder / "gone.csv").symlink_to(folder / "nowhere.csv")
    os.mkfifo(folder / "pipe.csv")
    save(folder / "a.xlsx", b"x")
    choices = ["nowhere.csv", "empty", "dir.csv", "loop.csv", "gone.csv"]
    choices += ["pipe.csv", "a.xlsx", "x" * 300 + ".csv", "a.csv/b.csv"]
    choices += ["nul\0.csv", "secret.csv"]
    wrong = folder / choices[int(rng.integers(len(choices)))]
    given = [good, wrong] if rng.integers(2) else wrong
    if wrong.name == "secret.csv":  # Which the superuser can read.
        save(wrong, to_csv(base(rng))).chmod(0)
        return Case(given, OPTIONS)
    return Case(given, OPTIONS, "error", (wrong.name[:40].split("\0")[0],))


def changed(rng, folder):
    """The file is not the same in the second pass."""
    parquet = bool(rng.integers(2))
    columns = base(rng)
    if parquet:
        path = save_parquet(rng, folder / "a.parquet", to_table(columns))
        other = save_parquet(rng, folder / "b.pq", to_table(base(rng)))
    else:
        path = save(folder / "a.csv", to_csv(columns))
        other = save(folder / "b.txt", to_csv(base(rng)))
    kind = int(rng.integers(6))
    stat, data = path.stat(), path.read_bytes()

    def between():
        if kind == 0:
            path.write_bytes(data[: len(data) // 2])
        elif kind == 1:
            path.write_bytes(data + data.splitlines(keepends=True)[-1])
        elif kind == 2:
            os.replace(other, path)
        elif kind == 3:
            path.unlink()
        elif kind == 4:  # As long, and as old.
            swapped = data.replace(b"\n0,", b"\n2,")
            path.write_bytes(swapped if not parquet else data[::-1])
            os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        else:
            path.write_bytes(b"")

    return Case(path, OPTIONS, "error", (path.name,), between)


def file_split(rng, folder):
    for name in ("a.csv", "b.csv", "c.csv"):
        save(folder / name, to_csv(base(rng), **style(rng)))
    if rng.integers(3) == 0:
        (folder / "c.csv").write_bytes(b"click\n")
    split = FileSplit(("b.csv",), ("c.csv",))
    return Case(folder, OPTIONS | {"split": split})


ODD_LINES = (
    *(
        b"1\n",
        b"1 2 3\n",
        b"x 2\n",
        b"1 y\n",
        b"1.0 2\n",
        b"1,2\n",
        b"\xff 1\n",
    ),
    *(b"1\0 2\n", b"\0\n", b'"1" 2\n', b'"1 2\n', b"99999999999999999999 1\n"),
    *(b"-1 2\n", b"+3 4\n", b" 1 2\n", b"1\t2\n", b"\n", b"1 2 \n", b"1 2\r\n"),
    *(b"NaN 1\n", b"inf 1\n", b"True 2\n", b"0x1 2\n", b"1_0 2\n", b"# 1\n"),
    *(b"9" * 100_000 + b" 1\n", b"1 9223372036854775807\n", b"01 2\n", b"1 2"),
)


def interactions(rng, folder):
    users = rng.integers(1, 20, 200).tolist()
    items = rng.integers(1, 60, 200).tolist()
    lines = [f"{u} {i}\n".encode() for u, i in zip(users, items, strict=True)]
    for _ in range(int(rng.integers(0, 3))):
        odd = ODD_LINES[int(rng.integers(len(ODD_LINES)))]
        lines.insert(int(rng.integers(len(lines))), odd)
    data = b"".join(lines)
    if rng.integers(4) == 0:
        data = damaged(rng, data)
    if rng.integers(10) == 0:
        data = data.decode("latin-1").encode("utf-16")
    packers = {"": bytes, ".gz": gzip.compress, ".bz2": bz2.compress}
    packers |= {".xz": lzma.compress, ".zip": bytes}
    ending = str(rng.choice(["", "", *packers]))
    data = packers[ending](data)
    if ending and rng.integers(2):
        data = damaged(rng, data)
    path = folder / f"plays.txt{ending}"
    path.write_bytes(data)
    options = {"negatives": int(rng.integers(1, 3))}
    return Case(path, options, reader="interactions")


KINDS = (
    *(shards, empty_shard, other_columns, other_types, time_units, gzipped),
    *(paths, changed, file_split, interactions, interactions),
)
