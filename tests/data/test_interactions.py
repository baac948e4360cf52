import lzma

import numpy as np
import pytest

from mec_tf.data import interactions
from mec_tf.data.interactions import draw_negatives


def decoded(log, split):
    ids = log._rows[split].ids
    columns = [
        np.concatenate([[-1], log.vocabularies[field].values])[ids[:, i]]
        for i, field in enumerate(("user", "item"))
    ]
    return np.stack(columns, 1), log.labels(split)


@pytest.fixture
def touched():
    rng = np.random.default_rng(0)
    return {
        user: rng.choice(50, size, replace=False) + 1
        for user, size in enumerate([12, 3, 2, 20, 1, 7], start=1)
    }


@pytest.fixture
def path(tmp_path, touched):
    lines = [f"{u} {i}\n" for u, items in touched.items() for i in items]
    path = tmp_path / "plays.txt.xz"
    path.write_bytes(lzma.compress("".join(lines).encode()))
    return path


def test_holds_out_the_last_two(path, touched):
    log = interactions(path)
    assert log.name == "plays"
    for split, place in (("test", -1), ("validation", -2)):
        ids, labels = decoded(log, split)
        users = ids[labels == 1, 0]
        assert users.tolist() == [u for u in touched if len(touched[u]) > 2]
        for (user, item), positive in zip(ids, labels, strict=True):
            if positive and item != -1:
                assert item == touched[user][place]
    ids, labels = decoded(log, "train")
    assert {3, 5} <= set(ids[:, 0])
    assert (labels == 1).sum() == 45 - 2 * 4


@pytest.mark.parametrize("negatives", [1, 3])
def test_negatives_are_untouched_training_items(path, touched, negatives):
    log = interactions(path, negatives=negatives)
    popular = set()
    for items in touched.values():
        popular.update(items[: -2 if len(items) > 2 else None].tolist())
    for split in log.splits:
        ids, labels = decoded(log, split)
        assert (labels == 0).sum() == negatives * (labels == 1).sum()
        for user, item in ids[(labels == 0) & (ids[:, 1] != -1)]:
            assert item not in touched[user]
            assert item in popular


def test_seed_decides(path):
    def train(seed):
        return decoded(interactions(path, seed=seed), "train")[0].tolist()

    assert train(0) == train(0)
    assert train(0) != train(1)


def test_negatives_follow_popularity():
    # Item 0 is trained on 81 times, item 1 once: 81 ** 0.75 = 27.
    users = np.arange(20_082)
    items = np.repeat([0, 1, 2], [81, 1, 20_000])
    drawn = draw_negatives(users, items, items < 2, 2, seed=0)
    found = np.bincount(drawn[items == 2].ravel(), minlength=3)
    assert found[2] == 0
    assert found[0] / found.sum() == pytest.approx(27 / 28, abs=0.005)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        ("1 a\n2 b\n", "whole numbers"),
        ("1 2 3\n", "whole numbers"),
        ("1 2\n3\n", "whole numbers"),
        ("1 2\n3 4 5\n", "whole numbers"),
        ("1 1\n1 2\n1 3\n1 4\n", "user 1"),
        ("1 2\n\n3 x\n", "'3 x' in row 3 in .*x.txt"),
        ("1 2\n3 99999999999999999999\n", "99' in row 2"),
        ('1 "2\n3" 4\n', "whole numbers"),
        ("1 2\n3 4\0\n", r"'3 4\\x00' in row 2"),
    ],
)
def test_refuses_other_files(tmp_path, text, message):
    path = tmp_path / "x.txt"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        interactions(path)


@pytest.mark.parametrize("ending", ["", ".gz", ".bz2", ".xz", ".zip"])
def test_refuses_damaged_files(tmp_path, ending):
    path = tmp_path / f"x.txt{ending}"
    path.write_bytes(b"\xff\xfe1\0 \0002\0\n\0")
    with pytest.raises(ValueError, match="x.txt.* cannot be read") as caught:
        interactions(path)
    assert type(caught.value) is ValueError


def test_refuses_missing_file_and_no_negatives(path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        interactions(path.with_name("nowhere.txt"))
    with pytest.raises(ValueError, match="negatives=0"):
        interactions(path, negatives=0)


def histories(log, split):
    """Rows of a split: user and item, and the history's items."""
    ids, _ = decoded(log, split)
    values = np.concatenate([[-1], log.vocabularies["history"].values])
    batches = [f["history"].numpy() for f, _ in log.dataset(split, 7)]
    return ids, values[np.concatenate(batches)]


def test_history_is_what_came_before(path, touched):
    log = interactions(path, history_length=4)
    assert log.vocabularies["history"] is log.vocabularies["item"]
    seen = dict.fromkeys(touched, 0)
    for split in log.splits:
        ids, found = histories(log, split)
        assert found.shape == (len(ids), 4)
        # A positive row, then its two negatives.
        assert (found[0::3] == found[1::3]).all()
        assert (found[0::3] == found[2::3]).all()
        for user, history in zip(ids[::3, 0], found[::3], strict=True):
            before = touched[user][: seen[user]][::-1][:4].tolist()
            # Items of no training row are unknown: no items, as padding.
            known = set(log.vocabularies["item"].values)
            before = [item if item in known else -1 for item in before]
            assert history.tolist() == before + [-1] * (4 - len(before))
            seen[user] += 1
    assert seen == {user: len(items) for user, items in touched.items()}


def test_history_does_not_hang_on_the_order_of_users(tmp_path):
    path = tmp_path / "mixed.txt"
    path.write_text("2 5\n1 6\n2 7\n1 5\n2 6\n3 8\n3 9\n")
    log = interactions(path, negatives=1, history_length=2)
    ids, found = histories(log, "train")
    assert ids[::2].tolist() == [[2, 5], [1, 6], [1, 5], [3, 8], [3, 9]]
    assert found[::2].tolist() == [
        [-1, -1], [-1, -1], [6, -1], [-1, -1], [8, -1]
    ]  # fmt: skip
    ids, found = histories(log, "test")
    # Item 7 is in no training row.
    assert found[::2].tolist() == [[-1, 5]]


def test_history_changes_nothing_else(path):
    plain = interactions(path)
    with_history = interactions(path, history_length=3)
    for split in plain.splits:
        for one, other in zip(
            decoded(plain, split), decoded(with_history, split), strict=True
        ):
            assert np.array_equal(one, other)
    assert "history" not in plain.schema.features
    assert "history" not in next(iter(plain.dataset("test", 2)))[0]


def test_counts_of_the_history(path):
    log = interactions(path, history_length=4)
    _, found = histories(log, "train")
    items = log.vocabularies["item"]
    ids = items.encode(found.ravel())
    expected = np.bincount(ids, minlength=items.size)
    assert expected[0] > 0
    assert log.counts["history"][0] == 0
    assert np.array_equal(log.counts["history"][1:], expected[1:])
    assert np.array_equal(log.counts["item"], items.counts)


def test_refuses_a_negative_history_length(path):
    with pytest.raises(ValueError, match="history_length=-1"):
        interactions(path, history_length=-1)
