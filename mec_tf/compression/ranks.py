"""The rank of every dense layer's factors."""

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence

from mec_tf.compression.dense_report import DenseReport
from mec_tf.quantizers import OutputStatistics

NOT_SMALLER = "left alone: factors would not be smaller"


def with_ranks(
    layers: Sequence[DenseReport],
    statistics: Mapping[str, OutputStatistics],
    ranks: int | Mapping[str, int],
) -> tuple[DenseReport, ...]:
    """The layers with given ranks.

    Args:
        layers: those with a `note` stay as they are.
        statistics: of the outputs of the others, by path.
        ranks: one for all, which a layer whose factors would not be smaller
            does not get; or a rank by path, taken as it is.
    """
    if isinstance(ranks, Mapping):
        given = [
            layer
            if layer.note or layer.path not in ranks
            else _ranked(layer, statistics[layer.path], ranks[layer.path])
            for layer in layers
        ]
        return _noted(given, "left alone: not in `ranks`")
    rank = ranks
    return tuple(
        _ranked_if_smaller(layer, statistics, lambda _: rank)
        for layer in layers
    )


def keeping_variance(
    layers: Sequence[DenseReport],
    statistics: Mapping[str, OutputStatistics],
    kept_variance: float,
) -> tuple[DenseReport, ...]:
    """The layers with the least ranks that keep a share of the variance."""
    return tuple(
        _ranked_if_smaller(
            layer, statistics, lambda found: found.rank_for(kept_variance)
        )
        for layer in layers
    )


def in_budget(
    layers: Sequence[DenseReport],
    statistics: Mapping[str, OutputStatistics],
    max_bytes: int,
) -> tuple[DenseReport, ...]:
    """The layers with the ranks that keep most variance in so many bytes.

    Variance is counted as a share of each layer's own. Ranks grow from 1, one
    direction at a time, where it keeps most per byte; the last step of a
    layer is to stay as it is.

    Args:
        layers: those with a `note` stay as they are, and take their bytes.
        statistics: of the outputs of the others, by path.
        max_bytes: of all layers together.

    Raises:
        ValueError: if rank 1 everywhere takes more.
    """
    ranks = {y.path: 1 for y in layers if not y.note and y.most_rank}
    by_path = {layer.path: layer for layer in layers}
    used = sum(
        y.factor_bytes(1) if y.path in ranks else y.bytes_before for y in layers
    )
    if used > max_bytes:
        total = sum(y.bytes_before for y in layers)
        raise ValueError(
            f"The dense layers take at least {used:,} bytes of {total:,}: "
            f"`ratio` must be at most {math.floor(100 * total / used) / 100}. "
            f"Received a budget of {max_bytes:,} bytes"
        )
    growing = set(ranks)
    while growing:
        steps = {
            path: _step(by_path[path], statistics[path], ranks[path])
            for path in growing
        }
        path = max(growing, key=lambda p: (steps[p][0] / steps[p][1], p))
        cost = steps[path][1]
        if used + cost > max_bytes:
            growing.remove(path)
            continue
        used += cost
        ranks[path] += 1
        if ranks[path] > by_path[path].most_rank:
            growing.remove(path)
    chosen = []
    for layer in layers:
        rank = ranks.get(layer.path)
        if rank is not None and rank <= layer.most_rank:
            layer = _ranked(layer, statistics[layer.path], rank)
        chosen.append(layer)
    return _noted(chosen, "left alone: fits as it is", NOT_SMALLER)


def _step(
    layer: DenseReport, statistics: OutputStatistics, rank: int
) -> tuple[float, int]:
    """What one more direction keeps, and its bytes."""
    kept = statistics.kept_variance(rank)
    if rank < layer.most_rank:
        return statistics.kept_variance(rank + 1) - kept, layer.bytes_per_rank
    return 1.0 - kept, layer.bytes_before - layer.factor_bytes(rank)


def _ranked(
    layer: DenseReport, statistics: OutputStatistics, rank: int
) -> DenseReport:
    kept = statistics.kept_variance(rank)
    return dataclasses.replace(layer, rank=rank, kept_variance=kept)


def _ranked_if_smaller(layer, statistics, rank_of) -> DenseReport:
    if layer.note:
        return layer
    if layer.most_rank:
        found = statistics[layer.path]
        rank = rank_of(found)
        if rank <= layer.most_rank:
            return _ranked(layer, found, rank)
    return dataclasses.replace(layer, note=NOT_SMALLER)


def _noted(
    layers: Iterable[DenseReport], note: str, if_too_small: str = ""
) -> tuple[DenseReport, ...]:
    """Says why layers without a rank have none."""
    return tuple(
        layer
        if layer.note or layer.rank is not None
        else dataclasses.replace(
            layer, note=note if layer.most_rank else if_too_small or note
        )
        for layer in layers
    )
