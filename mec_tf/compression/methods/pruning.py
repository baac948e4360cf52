"""Frequency pruning: popular rows keep a vector of their own."""

from typing import TYPE_CHECKING

import numpy as np

from mec_tf.compression.distortion import exact, shared_error
from mec_tf.compression.methods.method import (
    Measured,
    Method,
    layer_config,
    useful,
)
from mec_tf.compression.popularity import ordered_by_popularity
from mec_tf.compression.settings import LEAVE, PrunedSettings, Settings
from mec_tf.compression.tables import Table
from mec_tf.layers import TableEmbedding, TableLayer

if TYPE_CHECKING:
    from mec_tf.compression.policy import CompressionPolicy

# Shares of the rows that may be kept: geometric, from 2 ** -16 to a half.
_HALVINGS = range(32, 1, -1)


class Pruning(Method):
    """Rare rows share row 0; the model is trained on with what is left.

    A baseline. Tables whose ids are not ordered by popularity, or that mask
    row 0, are left alone: others would need a map from id to row.
    """

    settings_type = PrunedSettings
    default_ratio = 50.0

    def candidates(
        self,
        table: Table,
        policy: "CompressionPolicy",
        counts: np.ndarray,
    ) -> list[Settings]:
        masked = getattr(table.layer, "mask_zero", False)
        if masked or not ordered_by_popularity(counts):
            return [LEAVE]
        kept = {
            max(1, round(table.rows * 2 ** (-half / 2))) for half in _HALVINGS
        }
        return [LEAVE, *(PrunedSettings(n) for n in sorted(kept))]

    def measured(
        self,
        table: Table,
        policy: "CompressionPolicy",
        counts: np.ndarray,
    ) -> list[Measured]:
        values = exact(table.values(), counts, table.dim)
        found: list[Measured] = [(LEAVE, 0.0)]
        for settings in self.candidates(table, policy, counts):
            if isinstance(settings, PrunedSettings):
                error = shared_error(values, settings.private_rows)
                found.append((settings, error))
        return useful(found, table.rows, table)

    def trainable(
        self,
        table: Table,
        settings: PrunedSettings,
        policy: "CompressionPolicy",
    ) -> TableLayer:
        return TableEmbedding(
            table.rows,
            table.dim,
            private_rows=settings.private_rows,
            embeddings_initializer=table.layer.embeddings_initializer,
            **layer_config(table),
        )
