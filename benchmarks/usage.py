"""How a compressed model uses its codes, for popular and rare rows."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from mec_tf.compression.tables import table_layers

# Rows by popularity; each tier answers a third of the training lookups.
TIERS = ("popular", "middle", "rare")
CHUNK = 65_536


def code_usage(
    model: tf.keras.Model,
    counts: Mapping[str, np.ndarray],
    originals: Mapping[str, np.ndarray],
) -> dict[str, Any]:
    """Usage of the codes of a model; means over tables, weighted by rows.

    Args:
        model: compressed.
        counts: training counts `[rows]` by table path.
        originals: full-precision vectors `[rows, dim]` by table path, which
            squared errors are measured from.

    Returns:
        "perplexity", of rows, and "lookup_perplexity", of rows weighted by
        their counts, both as a share of the codebook; "dead_share" of the
        codes; "tiers", for each "perplexity" (a share of the codebook),
        "distinct_share" (distinct rows of codes / rows), "error_share" of the
        squared error of all rows, "relative_error" (squared error / squared
        norm).
    """
    found, weights = [], []
    for path, layer in table_layers(model).items():
        if hasattr(layer, "row_codes"):
            found.append(table_usage(layer, counts[path], originals[path]))
            weights.append(layer.input_dim)
    if not found:
        return {}
    return _average(found, np.asarray(weights) / sum(weights))


def table_usage(
    layer: tf.keras.layers.Layer, counts: np.ndarray, original: np.ndarray
) -> dict[str, Any]:
    """Usage of one table's codes, as `code_usage` describes it."""
    size = layer.codebook_size
    codes = layer.row_codes()
    # Rows that are not stored share row 0.
    rows = np.arange(layer.input_dim)
    rows[len(codes) :] = 0
    codes = codes[rows]
    errors = squared_errors(layer, original)
    norms = np.square(original).sum(axis=1)
    tiers = {}
    for name, members in zip(TIERS, popularity_tiers(counts), strict=True):
        part = codes[members]
        tiers[name] = {
            "perplexity": perplexity(part, size) / size,
            "distinct_share": len(np.unique(part, axis=0)) / max(1, len(part)),
            "error_share": _share(errors[members], errors),
            "relative_error": _share(errors[members], norms[members]),
        }
    used = sum(len(np.unique(column)) for column in codes.T)
    return {
        "perplexity": perplexity(codes, size) / size,
        "lookup_perplexity": perplexity(codes, size, counts) / size,
        "dead_share": 1.0 - used / (size * codes.shape[1]),
        "tiers": tiers,
    }


def popularity_tiers(counts: np.ndarray) -> list[np.ndarray]:
    """Rows of each tier; the most popular row is always in the first."""
    order = np.argsort(-counts, kind="stable")
    before = np.cumsum(counts[order]) - counts[order]
    place = before * len(TIERS) // max(1, counts.sum())
    place = np.minimum(place, len(TIERS) - 1)
    return [order[place == tier] for tier in range(len(TIERS))]


def perplexity(
    codes: np.ndarray, size: int, counts: np.ndarray | None = None
) -> float:
    """Mean over code columns of exp(entropy); 0 without rows."""
    found = []
    for column in codes.T:
        mass = np.bincount(column, counts, minlength=size)
        if mass.sum():
            shares = mass[mass > 0] / mass.sum()
            found.append(np.exp(-(shares * np.log(shares)).sum()))
    return float(np.mean(found)) if found else 0.0


def squared_errors(
    layer: tf.keras.layers.Layer, original: np.ndarray
) -> np.ndarray:
    """Squared distance `[rows]` of a table's rows from the original ones."""
    parts = []
    for start in range(0, len(original), CHUNK):
        rows = np.arange(start, min(start + CHUNK, len(original)))
        answer = layer(tf.constant(rows)).numpy()
        parts.append(np.square(answer - original[rows]).sum(axis=1))
    return np.concatenate(parts)


def _share(part: np.ndarray, whole: np.ndarray) -> float:
    return float(part.sum() / max(whole.sum(), 1e-30))


def _average(found: list[Any], weights: np.ndarray) -> Any:
    if isinstance(found[0], dict):
        return {
            name: _average([each[name] for each in found], weights)
            for name in found[0]
        }
    return float(np.dot(found, weights))
