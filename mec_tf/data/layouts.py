"""Published click logs, in the layouts in which they are published."""

from __future__ import annotations

import os
import pathlib

import pyarrow as pa
import pyarrow.compute as pc

from mec_tf.data.log import Log
from mec_tf.data.read_log import read_log
from mec_tf.data.schema import Schema
from mec_tf.data.splits import FileSplit, Split

_CRITEO_NUMERIC = tuple(f"I{i}" for i in range(1, 14))
_CRITEO_CATEGORICAL = tuple(f"C{i}" for i in range(1, 27))
_AVAZU_TEXT = (
    *("site_id", "site_domain", "site_category"),
    *("app_id", "app_domain", "app_category"),
    *("device_id", "device_ip", "device_model"),
)
_AVAZU_NUMBERS = (
    *("C1", "banner_pos", "device_type", "device_conn_type"),
    *(f"C{i}" for i in range(14, 22)),
)


def criteo(
    path: str | os.PathLike,
    *,
    cache_dir: str | os.PathLike,
    split: Split | None = None,
    min_count: int = 1,
    progress: bool = True,
) -> Log:
    """Reads the Criteo log of Kaggle's Display Advertising Challenge.

    Args:
        path: `train.txt`: tabs, no header, label, 13 numbers, 26 ids.
        cache_dir: Directory of the result; see `read_log`.
        split: A random one by default; the rows of the file are in the order
            of time, for a `TemporalSplit()`.
        min_count: Values seen less often in training share row 0.
        progress: Whether to show progress bars.

    Returns:
        A memory-mapped `Log`.
    """
    return read_log(
        path,
        "label",
        cache_dir=cache_dir,
        schema=Schema(
            "label",
            _CRITEO_CATEGORICAL,
            _CRITEO_NUMERIC,
            strings=_CRITEO_CATEGORICAL,
        ),
        min_count=min_count,
        split=split,
        name="criteo",
        delimiter="\t",
        column_names=("label", *_CRITEO_NUMERIC, *_CRITEO_CATEGORICAL),
        progress=progress,
    )


def avazu(
    path: str | os.PathLike,
    *,
    cache_dir: str | os.PathLike,
    split: Split | None = None,
    min_count: int = 1,
    progress: bool = True,
) -> Log:
    """Reads the Avazu log of Kaggle's Click-Through Rate Prediction.

    The column `id`, unique to each row, stays out; `hour` (YYMMDDHH) becomes
    `hour_of_day` and `weekday` (Monday is 0).

    Args:
        path: `train` as a .csv or .csv.gz file with its header line.
        cache_dir: Directory of the result; see `read_log`.
        split: A random one by default; `TemporalSplit("hour")` splits by
            time.
        min_count: Values seen less often in training share row 0.
        progress: Whether to show progress bars.

    Returns:
        A memory-mapped `Log`.
    """
    return read_log(
        path,
        "click",
        cache_dir=cache_dir,
        schema=Schema(
            "click",
            ("hour_of_day", "weekday", *_AVAZU_NUMBERS, *_AVAZU_TEXT),
            strings=_AVAZU_TEXT,
        ),
        min_count=min_count,
        split=split,
        name="avazu",
        derive={
            "hour_of_day": ("hour", hour_of_day),
            "weekday": ("hour", weekday),
        },
        progress=progress,
    )


def criteo_x1(
    path: str | os.PathLike,
    *,
    cache_dir: str | os.PathLike,
    min_count: int = 1,
    progress: bool = True,
) -> Log:
    """Reads `Criteo_x1` of the BARS benchmark, split as published.

    Args:
        path: Directory with `train.csv`, `valid.csv` and `test.csv`: label,
            `I1` to `I13`, `C1` to `C26`.
        cache_dir: Directory of the result; see `read_log`.
        min_count: Values seen less often in training share row 0.
        progress: Whether to show progress bars.

    Returns:
        A memory-mapped `Log`.
    """
    schema = Schema("label", _CRITEO_CATEGORICAL, _CRITEO_NUMERIC)
    return _x1("criteo_x1", path, schema, cache_dir, min_count, progress)


def avazu_x1(
    path: str | os.PathLike,
    *,
    cache_dir: str | os.PathLike,
    min_count: int = 1,
    progress: bool = True,
) -> Log:
    """Reads `Avazu_x1` of the BARS benchmark, split as published.

    Args:
        path: Directory with `train.csv`, `valid.csv` and `test.csv`: label,
            `feat_1` to `feat_22`.
        cache_dir: Directory of the result; see `read_log`.
        min_count: Values seen less often in training share row 0.
        progress: Whether to show progress bars.

    Returns:
        A memory-mapped `Log`.
    """
    schema = Schema("label", tuple(f"feat_{i}" for i in range(1, 23)))
    return _x1("avazu_x1", path, schema, cache_dir, min_count, progress)


def hour_of_day(hours: pa.Array) -> pa.Array:
    """Returns the hour, int64, of YYMMDDHH texts."""
    return pc.utf8_slice_codeunits(hours, 6, 8).cast(pa.int64())


def weekday(hours: pa.Array) -> pa.Array:
    """Returns the day of the week, int64, Monday 0, of YYMMDDHH texts."""
    days = pc.utf8_slice_codeunits(hours, 0, 6)
    return pc.day_of_week(pc.strptime(days, format="%y%m%d", unit="s"))


def _x1(
    name: str,
    path: str | os.PathLike,
    schema: Schema,
    cache_dir: str | os.PathLike,
    min_count: int,
    progress: bool,
) -> Log:
    files = ("train.csv", "valid.csv", "test.csv")
    return read_log(
        [pathlib.Path(path) / file for file in files],
        schema.label,
        cache_dir=cache_dir,
        schema=schema,
        min_count=min_count,
        split=FileSplit(validation=("valid.csv",), test=("test.csv",)),
        name=name,
        progress=progress,
    )
