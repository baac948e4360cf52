"""Low rank: tables whose rows lie in few dimensions."""

from typing import TYPE_CHECKING, Any

import numpy as np

from mec_tf.compression.methods.method import (
    Measured,
    Method,
    layer_config,
    useful,
)
from mec_tf.compression.settings import LEAVE, LowRankSettings, Settings
from mec_tf.compression.tables import Table
from mec_tf.layers import LowRankEmbedding, TableLayer
from mec_tf.quantizers import OutputStatistics

if TYPE_CHECKING:
    from mec_tf.compression.policy import CompressionPolicy


class LowRank(Method):
    """The subspace in which looked-up rows vary most, then trained on."""

    settings_type = LowRankSettings
    default_ratio = 4.0

    def candidates(
        self,
        table: Table,
        policy: "CompressionPolicy",
        counts: np.ndarray,
    ) -> list[Settings]:
        width = table.dim - table.additive_dim
        return [LEAVE, *(LowRankSettings(r) for r in range(1, width + 1))]

    def measured(
        self,
        table: Table,
        policy: "CompressionPolicy",
        counts: np.ndarray,
    ) -> list[Measured]:
        width = table.dim - table.additive_dim
        values = table.values()[:, :width]
        lookups = float(np.sum(counts))
        lost = lookups * np.append(
            np.cumsum(
                OutputStatistics.of_table(values, counts).eigenvalues[::-1]
            )[::-1],
            0.0,
        )
        found: list[Measured] = [(LEAVE, 0.0)]
        for settings in self.candidates(table, policy, counts):
            if isinstance(settings, LowRankSettings):
                found.append((settings, float(lost[settings.rank])))
        return useful(found, table.rows, table)

    def trainable(
        self,
        table: Table,
        settings: LowRankSettings,
        policy: "CompressionPolicy",
    ) -> TableLayer:
        assert settings.rank is not None  # planning gave it
        return LowRankEmbedding(
            table.rows,
            table.dim,
            settings.rank,
            embeddings_initializer=table.layer.embeddings_initializer,
            **layer_config(table),
        )

    def frozen_config(
        self, settings: LowRankSettings, rows: int
    ) -> dict[str, Any]:
        return {"row_dtype": settings.row_dtype}
