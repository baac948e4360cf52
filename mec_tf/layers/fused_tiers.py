"""Which tier of its table an id is in, for many tables at once."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from mec_tf.layers.fused_tables import FusedTables
from mec_tf.layers.table_layer import TableLayer
from mec_tf.layers.tiered_embedding import TieredEmbedding


class FusedTiers:
    """The ranges of rows of several tiered tables.

    A tier is a table of its own to those that hold it, `"table/place"`.

    Args:
        tables: a dict for each table, with its "name" and, as in
            `TieredEmbedding`, "input_dim", "private_rows", "oov" (not
            "error") and "tier_rows": stored rows of each tier.
        output_dim: int, width of a vector.
    """

    def __init__(self, tables: Sequence[Mapping[str, Any]], output_dim: int):
        self.tables = [dict(table) for table in tables]
        self.output_dim = output_dim
        self._sizes = {t["name"]: list(t["tier_rows"]) for t in tables}
        self._rules = FusedTables(
            [
                {k: value for k, value in t.items() if k != "tier_rows"}
                for t in tables
            ],
            output_dim,
        )

    @staticmethod
    def settings(name: str, layer: TieredEmbedding) -> dict[str, Any]:
        """The dict of a table, of its layer."""
        return {
            "name": name,
            "input_dim": layer.input_dim,
            "private_rows": layer.private_rows,
            "oov": layer.oov,
            "tier_rows": [tier.input_dim for tier in layer.tiers],
        }

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the tables."""
        return self._rules.names

    def members(self, name: str) -> list[str]:
        """Names of a table's tiers."""
        return tier_names(name, self._sizes[name])

    def split(
        self, ids: Any, names: Sequence[str]
    ) -> tuple[list[tf.Tensor], tf.Tensor, tf.Tensor | None]:
        """The ids of each tier.

        Args:
            ids: integers `[..., n]`.
            names: the table of each of the last axis.

        Returns:
            Rows `[..., n]` of each first, second, ... tier, 0 or its last row
            where the id is in another one (or there is no such tier); which
            tier each id is in, integers `[..., n]`; and a mask that is False
            where the vector is zero (None where none is).
        """
        rows, places, valid = self._rules.find(ids, names)
        starts = [start for start, _ in self._rules.row_ranges.values()]
        count = max(len(self._sizes[name]) for name in names)
        tier = tf.zeros_like(rows)
        parts = []
        for place in range(count):
            bounds = np.array(
                [
                    _range(self._sizes[name], place, starts[where])
                    for name, where in zip(names, places, strict=True)
                ]
            )
            own = rows - tf.constant(bounds[:, 0], rows.dtype)
            last = tf.constant(bounds[:, 1] - bounds[:, 0] - 1, rows.dtype)
            parts.append(tf.minimum(tf.maximum(own, 0), last))
            if place:
                tier += tf.cast(own >= 0, tier.dtype)
        return parts, tier, valid


def tier_names(name: str, tiers: Sequence[Any]) -> list[str]:
    """Names of the tiers of a table, as tables of their own."""
    return [f"{name}/{place}" for place in range(len(tiers))]


def can_split(layer: Any) -> bool:
    """Whether the tiers of a table can stand apart from it."""
    return (
        type(layer) is TieredEmbedding
        and not layer.mask_zero
        and layer.oov != "error"
    )


def whole_tiers(layer: TieredEmbedding) -> list[TableLayer]:
    """The tiers of a table; rows that share row 0 count to the last."""
    *tiers, last = layer.tiers
    shared = layer.input_dim - layer.stored_rows
    if shared:
        last = last.freeze(
            input_dim=last.input_dim + shared, private_rows=last.input_dim
        )
    return [*tiers, last]


def _range(sizes: Sequence[int], place: int, start: int) -> tuple[int, int]:
    """First row and end of a tier; beyond all rows where there is none."""
    if place >= len(sizes):
        beyond = np.iinfo(np.int32).max
        return beyond, beyond + 1
    before = start + sum(sizes[:place])
    return before, before + sizes[place]
