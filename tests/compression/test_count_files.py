"""Counts of a log of many files, kept file by file."""

import numpy as np
import pytest

from mec_tf.compression import ArtifactError, count_files

ROWS = {"user": 30, "item": 8}
RNG = np.random.default_rng(0)


@pytest.fixture
def files(tmp_path):
    paths = []
    for place in range(4):
        folder = tmp_path / f"day{place % 2}"  # files of one name
        folder.mkdir(exist_ok=True)
        paths.append(folder / f"log{place // 2}.npz")
        np.savez(
            paths[-1],
            user=RNG.integers(-2, 33, (50, 2)),
            item=RNG.integers(0, 8, 50).astype(np.int8),
            other=np.zeros(50),
        )
    return paths


class Reader:
    """Reads in two batches, and notes what it read."""

    def __init__(self, fails_at=None):
        self.seen = []
        self.fails_at = fails_at

    def __call__(self, path):
        if path == self.fails_at:
            raise KeyboardInterrupt
        self.seen.append(path)
        with np.load(path) as columns:
            for part in (slice(0, 20), slice(20, None)):
                yield {name: columns[name][part] for name in columns.files}


def expected(files):
    totals = {}
    for name, rows in ROWS.items():
        ids = np.concatenate([np.load(f)[name].reshape(-1) for f in files])
        ids = ids[(ids >= 0) & (ids < rows)]
        totals[name] = np.bincount(ids, minlength=rows)
    return totals


def assert_counted(counts, files):
    assert counts.keys() == ROWS.keys()
    for name, goal in expected(files).items():
        assert counts[name].dtype == np.int64
        np.testing.assert_array_equal(counts[name], goal)


def test_a_killed_run_goes_on(files, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        count_files(files, Reader(files[2]), ROWS, tmp_path / "counts")
    reader = Reader()
    counts = count_files(files, reader, ROWS, tmp_path / "counts")
    assert reader.seen == files[2:]
    assert_counted(counts, files)


def test_processes_share_the_files(files, tmp_path):
    for part in range(2):
        count_files(files[part::2], Reader(), ROWS, tmp_path / "counts")
    reader = Reader()
    assert_counted(count_files(files, reader, ROWS, tmp_path / "counts"), files)
    assert not reader.seen


def test_what_changed_is_counted_again(files, tmp_path):
    count_files(files, Reader(), ROWS, tmp_path / "counts")
    np.savez(files[1], user=[3, 3, 3], item=[7])
    reader = Reader()
    counts = count_files(files, reader, ROWS, tmp_path / "counts")
    assert reader.seen == [files[1]]
    assert_counted(counts, files)
    more = count_files(files, reader, {"item": 5}, tmp_path / "counts")
    np.testing.assert_array_equal(more["item"], counts["item"][:5])


def test_a_damaged_file_is_refused(files, tmp_path):
    count_files(files[:1], Reader(), ROWS, tmp_path / "counts")
    (kept,) = (tmp_path / "counts").iterdir()
    kept.write_bytes(kept.read_bytes()[:-9])
    with pytest.raises(ArtifactError):
        count_files(files, Reader(), ROWS, tmp_path / "counts")
    with pytest.raises(FileNotFoundError):
        count_files([tmp_path / "no"], Reader(), ROWS, tmp_path / "counts")
