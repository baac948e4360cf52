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
    ],
)
def test_refuses_other_files(tmp_path, text, message):
    path = tmp_path / "x.txt"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        interactions(path)


def test_refuses_missing_file_and_no_negatives(path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        interactions(path.with_name("nowhere.txt"))
    with pytest.raises(ValueError, match="negatives=0"):
        interactions(path, negatives=0)
