"""Short versions of `benchmarks.reliability.data`."""

import multiprocessing
import time
import types

import numpy as np
import pytest

import mec_tf.data
from benchmarks.reliability import data
from benchmarks.reliability.data_case import Case, base, save, to_csv

SLOW = ("long_row", "bad_id", "wide")


def seeds_of(*names):
    """A seed of each kind of input that is named, or of all others."""
    for seed, (_, kind) in enumerate(data.KINDS):
        if (kind.__name__ in names) if names else kind.__name__ not in SLOW:
            yield seed


@pytest.mark.parametrize("first", [0, 100 * len(data.KINDS)])
def test_every_kind_ends_in_the_truth_or_one_error(first):
    rows = [data.run(first + seed, 60) for seed in seeds_of()]
    assert [row for row in rows if row["ending"] == "failure"] == []
    endings = [row["ending"] for row in rows]
    assert min(endings.count("result"), endings.count("error")) > 10


def test_the_command_says_the_same():
    kinds = ("clean", "bad_number", "ragged", "empty_shard", "paths", "names")
    rows = [data.run(seed, 60, cli=True) for seed in seeds_of(*kinds)]
    assert [row for row in rows if row["ending"] == "failure"] == []
    assert all(row["command"] for row in rows)


@pytest.fixture
def case(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    path = save(folder / "a.csv", to_csv(base(np.random.default_rng(0))))
    return Case(path, {"label": "click"}, "result")


def test_a_right_log_passes(case):
    assert data.read(case, case.paths.parent) == ("result", "")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (KeyError("x"), "KeyError leaked"),
        (UnicodeDecodeError("utf-8", b"", 0, 1, "bad"), "UnicodeDecodeError"),
        (ValueError("a.csv\nis bad"), "not one line"),
        (ValueError("something is bad"), "names no file"),
        (ValueError("a.csv is bad"), "a result was due"),
    ],
)
def test_finds_errors_that_are_not_clear(case, monkeypatch, error, message):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(mec_tf.data, "read_log", fail)
    with pytest.raises(data.Failure, match=message):
        data.read(case, case.paths.parent)


def test_finds_a_place_that_is_not_named(case, monkeypatch):
    def fail(*_, **__):
        raise ValueError("a.csv is bad in row 3")

    monkeypatch.setattr(mec_tf.data, "read_log", fail)
    case.wants, case.names = "error", ("in row 4",)
    with pytest.raises(data.Failure, match=r"lacks \['in row 4'\]"):
        data.read(case, case.paths.parent)


@pytest.mark.parametrize(
    ("old", "new"), [(b"Oslo", b"Bonn"), (b"\n1,", b"\n0,"), (b",5", b",6")]
)
def test_finds_data_that_are_not_the_files(case, monkeypatch, old, new):
    read_log = mec_tf.data.read_log

    def wrong(path, **options):
        truth = path.read_bytes()
        path.write_bytes(truth.replace(old, new, 1))
        log = read_log(path, **options)
        path.write_bytes(truth)
        return log

    monkeypatch.setattr(mec_tf.data, "read_log", wrong)
    with pytest.raises(data.Failure, match="not what the file holds"):
        data.read(case, case.paths.parent)


def test_finds_what_is_left_behind(case, monkeypatch):
    def fail(path, **_):
        (path.parent.parent / "cache.partial").mkdir()
        raise ValueError("a.csv is bad")

    monkeypatch.setattr(mec_tf.data, "read_log", fail)
    with pytest.raises(data.Failure, match="left behind"):
        data.read(case, case.paths.parent)


def test_finds_hangs(monkeypatch):
    monkeypatch.setattr(mec_tf.data, "read_log", lambda *_, **__: time.sleep(9))
    row = data.run(0, limit=1)
    assert row["ending"] == "failure"
    assert "took more than 1 seconds" in row["detail"]


def test_goes_on_after_a_crash(monkeypatch):
    class Worker:
        """Dies at the second input; the next one does the rest."""

        exitcode = -11

        def __init__(self, target, args):
            self.connection, self.seeds = args[:2]

        def start(self):
            for seed in self.seeds:
                if seed == 11:
                    return
                self.connection.send({"seed": seed})
            self.connection.send({"peak_rss": 1})

        def join(self):
            pass

    context = multiprocessing.get_context("spawn")
    fake = types.SimpleNamespace(Pipe=context.Pipe, Process=Worker)
    monkeypatch.setattr(multiprocessing, "get_context", lambda _: fake)
    rows = list(data.run_all([10, 11, 12], 1))
    assert [row.get("seed") for row in rows] == [10, 11, 12, None]
    assert "died or hung: -11" in rows[1]["detail"]


def test_summary_counts_endings():
    rows = [
        {"kind": "b", "ending": "error", "seconds": 1.0, "command": True},
        {"kind": "a", "ending": "result", "seconds": 2.0},
        {"kind": "b", "ending": "failure", "seconds": 3.0},
    ]
    a, b, total = data.summary(rows)
    assert (a["kind"], a["results"], a["errors"]) == ("a", 1, 0)
    assert (b["inputs"], b["failures"], b["by_command"]) == (2, 1, 1)
    assert (total["inputs"], total["slowest_seconds"]) == (3, 3.0)
