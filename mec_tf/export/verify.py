"""Checks of a SavedModel that was just written."""

import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from mec_tf.compression.tables import walk
from mec_tf.export.inspect import SavedModelContents

TOLERANCE = 1e-5
# Of models that compute in 16 bits: a graph may round where eager does not.
LOW_TOLERANCES = {"float16": 5e-3, "bfloat16": 4e-2}
BYTES_TOLERANCE = 0.05

Arrays = Mapping[str, np.ndarray]


def tolerance_of(model: tf.keras.Model) -> float:
    """How far answers may differ, by what the model's layers compute in."""
    dtypes = {getattr(model, "compute_dtype", "float32")}
    dtypes |= {getattr(layer, "compute_dtype", "") for _, layer in walk(model)}
    return max(LOW_TOLERANCES.get(dtype, TOLERANCE) for dtype in dtypes)


def check_answers(
    path: pathlib.Path,
    requests: Mapping[str, Arrays],
    expected: Arrays,
    tolerance: float = TOLERANCE,
) -> float:
    """Loads a SavedModel and compares its answers with the model's.

    Every signature answers the whole batch, and its first row alone.

    Args:
        path: the SavedModel.
        requests: `{signature: {input: [batch, ...]}}`.
        expected: `{output: [batch, ...]}`.
        tolerance: times the largest answer, or times 1 where that is
            smaller. Default 1e-5.

    Returns:
        The largest absolute difference.

    Raises:
        ValueError: if one is above the tolerance.
    """
    loaded = tf.saved_model.load(str(path))
    worst = 0.0
    for signature, arrays in requests.items():
        for rows in (slice(None), slice(1)):
            tensors = {k: tf.constant(v[rows]) for k, v in arrays.items()}
            answers = loaded.signatures[signature](**tensors)
            for name, values in expected.items():
                worst = max(
                    worst,
                    difference(
                        answers[name].numpy(),
                        values[rows],
                        tolerance,
                        f"output {name!r} of signature {signature!r}",
                    ),
                )
    return worst


def difference(
    actual: Any, expected: Any, tolerance: float, what: str
) -> float:
    """The largest absolute difference of two arrays.

    Raises:
        ValueError: if it is above the tolerance, as in `check_answers`.
    """
    if not np.issubdtype(expected.dtype, np.floating):
        same = actual.shape == expected.shape and (actual == expected).all()
        gap, scale = (0.0 if same else np.inf), 1.0
    elif actual.shape != expected.shape or (
        (np.isnan(actual) != np.isnan(expected)).any()
    ):
        gap, scale = np.inf, 1.0
    else:
        gaps = np.where(actual == expected, 0.0, np.abs(actual - expected))
        gap = float(np.nanmax(gaps, initial=0.0))
        finite = expected[np.isfinite(expected)]
        scale = max(1.0, float(np.abs(finite).max(initial=0.0)))
    if not gap <= tolerance * scale:
        raise ValueError(
            "`model` must answer alike before and after the export, within "
            f"{tolerance * scale:g}. Received: a difference of {gap:g} in "
            f"{what}"
        )
    return gap


def check_bytes(
    contents: SavedModelContents, counted: Mapping[str, int]
) -> None:
    """Compares the tables' bytes on disk with the count.

    Args:
        contents: what the SavedModel holds.
        counted: `{table path: bytes}`.

    Raises:
        ValueError: if the totals differ by more than 5%, or the variables'
            file holds more than the variables.
    """
    on_disk = {table.path: table.bytes for table in contents.tables}
    total, expected = sum(on_disk.values()), sum(counted.values())
    if abs(total - expected) > BYTES_TOLERANCE * expected:
        pairs = [
            f"{path}: {size:,} counted, {on_disk.get(path, 0):,} exported"
            for path, size in counted.items()
            if size != on_disk.get(path, 0)
        ]
        raise ValueError(
            "`model` must need every variable of its tables to answer; "
            "freeze tables that are still in training, and remove unused "
            f"ones. Received: {'; '.join(pairs)}"
        )
    stored = contents.variable_file_bytes
    held = sum(variable.bytes for variable in contents.variables)
    # Besides the variables the file holds a description of the objects.
    if stored - held > BYTES_TOLERANCE * held + (1 << 20):
        raise ValueError(
            "`model` must be stored once. Received: variables of "
            f"{held:,} bytes in a file of {stored:,} bytes"
        )
