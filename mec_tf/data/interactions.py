"""Implicit feedback: which items a user touched, with drawn negatives."""

from __future__ import annotations

import csv
import os
import pathlib
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from mec_tf.data.log import Log
from mec_tf.data.schema import Schema
from mec_tf.data.windows import Windows
from mec_tf.data.wording import cut, one_line, shown

_POPULARITY_POWER = 0.75
_MIN_HELD_OUT = 3
_MAX_ROUNDS = 1000


def interactions(
    path: str | os.PathLike,
    negatives: int = 2,
    seed: int = 0,
    min_count: int = 1,
    history_length: int = 0,
) -> Log:
    """Reads interactions as a ranking task over the fields user and item.

    A file holds one interaction a line, `user item`, two whole numbers; the
    lines of each user are in time order. Each user's last interaction is held
    out for test and the one before for validation; users with fewer than
    three stay in training. Each positive row is followed by its negatives:
    items that the user never touched, drawn by their number of training
    interactions to the power of 0.75.

    With `history_length`, each row has a sequence "history": the items that
    its user touched before this interaction and nothing later, the most
    recent first, padded with 0 at the end. A positive row and its negatives
    have the same. It shares the vocabulary of "item".

    Args:
        path: Text file, plain or compressed (.xz, .gz, .bz2, .zip).
        negatives: Negatives for each positive. Defaults to 2.
        seed: Same seed, same negatives.
        min_count: Values seen less often in training share row 0.
        history_length: Items of the history. Defaults to 0: none.

    Returns:
        A `Log` in memory, named after the file.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is empty or damaged, a line is not two whole
            numbers, or a user leaves no item to draw.
    """
    if negatives < 1:
        raise ValueError(
            f"`negatives` must be at least 1. Received: negatives={negatives}"
        )
    if history_length < 0:
        raise ValueError(
            "`history_length` must be at least 0. Received: "
            f"history_length={history_length}"
        )
    users, items = _read(pathlib.Path(path))
    split = _hold_out(users)
    drawn = draw_negatives(users, items, split == 0, negatives, seed)
    columns: dict[str, Any] = {
        "user": np.repeat(users, 1 + negatives),
        "item": np.column_stack([items, drawn]).ravel(),
        "touched": np.tile([1] + [0] * negatives, len(users)),
    }
    sequences = {}
    if history_length:
        sequences["history"] = "item"
        before = _histories(users, items, history_length)
        columns["history"] = before.take(
            np.repeat(np.arange(len(users)), 1 + negatives)
        )
    schema = Schema(
        label="touched",
        categorical=("user", "item"),
        strings=(),
        sequences=sequences,
    )
    return Log.from_columns(
        pathlib.Path(path).name.split(".")[0],
        schema,
        columns,
        np.repeat(split, 1 + negatives),
        min_count,
    )


def draw_negatives(
    users: np.ndarray,
    items: np.ndarray,
    train: np.ndarray,
    negatives: int,
    seed: int,
) -> np.ndarray:
    """Draws untouched items for each interaction.

    Args:
        users: int array `[n]`.
        items: int array `[n]`.
        train: bool array `[n]`, the interactions that count as popularity.
        negatives: Draws for each interaction.
        seed: Same seed, same draws.

    Returns:
        int64 array `[n, negatives]` of items.

    Raises:
        ValueError: If a user touched all items, or so nearly all by weight
            that no other is found.
    """
    user_codes, user_values = pd.factorize(users)
    # Sorted, so that the draws do not hang on the order of the lines.
    item_codes, item_values = pd.factorize(items, sort=True)
    touched = np.unique(user_codes * len(item_values) + item_codes)
    counts = np.bincount(item_codes[train], minlength=len(item_values))
    edges = np.cumsum(counts.astype(np.float64) ** _POPULARITY_POWER)
    edges /= edges[-1]
    rng = np.random.default_rng(seed)
    drawn = np.empty(len(users) * negatives, np.int64)
    wanted = np.repeat(user_codes, negatives)
    pending = np.arange(len(drawn))
    for _ in range(_MAX_ROUNDS):
        # "right" never picks an item of weight zero.
        picks = np.searchsorted(edges, rng.random(len(pending)), "right")
        drawn[pending] = picks
        keys = wanted[pending] * len(item_values) + picks
        places = np.searchsorted(touched, keys).clip(max=len(touched) - 1)
        pending = pending[touched[places] == keys]
        if not len(pending):
            return item_values[drawn].reshape(-1, negatives)
    user = user_values[wanted[pending[0]]]
    raise ValueError(
        "`path` must leave each user an item that was not touched. Received: "
        f"no negative found for user {user} in {_MAX_ROUNDS} draws"
    )


def _read(path: pathlib.Path) -> tuple[np.ndarray, np.ndarray]:
    if not path.is_file():
        raise FileNotFoundError(f"`path` is no file. Received: {path}")
    table = _table(path)
    kinds = [str(dtype) for dtype in table.dtypes]
    if kinds != ["int64", "int64"]:
        raise _line_error(path, _first_wrong(path) or cut(", ".join(kinds)))
    return table[0].to_numpy(), table[1].to_numpy()


def _table(path: pathlib.Path, **options: Any) -> pd.DataFrame:
    try:
        return pd.read_csv(
            path, sep=r"\s+", header=None, quoting=csv.QUOTE_NONE, **options
        )
    except pd.errors.EmptyDataError as error:
        raise ValueError(f"`path` is empty. Received: {path}") from error
    except pd.errors.ParserError as error:
        raise _line_error(path, one_line(str(error))) from error
    except Exception as error:  # Each kind of compression has its own.
        raise ValueError(
            f"{path} cannot be read: {one_line(str(error))}"
        ) from error


def _first_wrong(path: pathlib.Path) -> str:
    """Names the first line that is not two whole numbers, where it can."""
    try:
        lines = _table(path, dtype=str, na_filter=False, skip_blank_lines=False)
    except ValueError:
        return ""
    for number, values in enumerate(lines.itertuples(index=False), 1):
        if any(values) and not (
            len(values) == 2 and all(map(_is_whole, values))
        ):
            return f"{shown(' '.join(values))} in row {number}"
    return ""


def _is_whole(text: str) -> bool:
    try:
        pa.scalar(text.removeprefix("+")).cast(pa.int64())
    except pa.ArrowInvalid:
        return False
    return True


def _line_error(path: pathlib.Path, received: str) -> ValueError:
    return ValueError(
        "Each line must be `user item`, two whole numbers. Received: "
        f"{received} in {path}"
    )


def _histories(users: np.ndarray, items: np.ndarray, length: int) -> Windows:
    """What each line's user touched in earlier lines."""
    # Stable: the lines of a user stay in order, wherever they are.
    order = np.argsort(users, kind="stable")
    place = np.empty(len(users), np.int64)
    place[order] = np.arange(len(users))
    earlier = pd.Series(users).groupby(users).cumcount().to_numpy()
    return Windows(items[order], place - earlier, place, length)


def _hold_out(users: np.ndarray) -> np.ndarray:
    groups = pd.Series(users).groupby(users)
    from_end = groups.cumcount(ascending=False).to_numpy()
    enough = groups.transform("size").to_numpy() >= _MIN_HELD_OUT
    return np.select(
        [enough & (from_end == 1), enough & (from_end == 0)], [1, 2], 0
    )
