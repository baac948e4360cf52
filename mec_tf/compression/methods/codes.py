"""MEC: tables as codes and codebooks."""

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from mec_tf.compression.commitment import COMMITMENT
from mec_tf.compression.methods.candidates import measured_codes, plain_codes
from mec_tf.compression.methods.method import (
    Measured,
    Method,
    layer_config,
)
from mec_tf.compression.settings import Settings, TableSettings
from mec_tf.compression.tables import Table
from mec_tf.layers import (
    ProductQuantizedEmbedding,
    QuantizedEmbedding,
    ResidualQuantizedEmbedding,
    TableEmbedding,
    TableLayer,
    TieredEmbedding,
)

if TYPE_CHECKING:
    from mec_tf.compression.policy import CompressionPolicy


class LearnedCodes(Method):
    """Quantization-aware training of codes and codebooks (MEC's stage 1)."""

    settings_type = TableSettings
    default_ratio = 50.0

    def candidates(
        self,
        table: Table,
        policy: "CompressionPolicy",
        counts: np.ndarray,
    ) -> list[Settings]:
        return [*plain_codes(table, counts)]

    def measured(
        self,
        table: Table,
        policy: "CompressionPolicy",
        counts: np.ndarray,
    ) -> list[Measured]:
        return [*measured_codes(table, counts, policy.seed)]

    def trainable(
        self,
        table: Table,
        settings: TableSettings,
        policy: "CompressionPolicy",
    ) -> TableLayer:
        whole = layer_config(table)
        whole["private_rows"] = settings.private_rows
        if not settings.heads:
            return _tier(table, table.rows, settings, policy, whole)
        tiers = [
            _tier(
                table, rows, tier, policy,
                {
                    "additive_dim": table.additive_dim,
                    "name": f"tier_{place}",
                },
            )
            for place, (rows, tier) in enumerate(settings.tiers(table.rows))
        ]  # fmt: skip
        return TieredEmbedding(table.rows, table.dim, tiers, **whole)

    def frozen_config(
        self, settings: TableSettings, rows: int
    ) -> dict[str, Any]:
        if settings.heads:
            tiers = settings.tiers(rows)
            return {"tiers": [self.frozen_config(t, n) for n, t in tiers]}
        if settings.exact:
            return {}
        return {
            "codebook_dtype": settings.codebook_dtype,
            "bit_packed": settings.bit_packed,
        }


class FixedCodes(LearnedCodes):
    """The same codes by k-means on the trained tables, without training."""

    trains = False


def _tier(
    table: Table,
    rows: int,
    settings: TableSettings,
    policy: "CompressionPolicy",
    config: dict[str, Any],
) -> TableLayer:
    """A trainable layer for so many rows of a table."""
    source = table.layer
    config["embeddings_initializer"] = source.embeddings_initializer
    commitment = policy.commitment_weight
    if settings.exact:
        return TableEmbedding(rows, table.dim, **config)
    kind: Callable[..., QuantizedEmbedding] = ProductQuantizedEmbedding
    if settings.quantizer == "residual":
        kind = ResidualQuantizedEmbedding
    elif settings.quantizer == "rotated":
        kind = functools.partial(kind, rotated=True, rank=settings.rank)
    return kind(
        rows,
        table.dim,
        settings.num_subspaces,
        settings.codebook_size,
        embeddings_regularizer=getattr(source, "embeddings_regularizer", None),
        embeddings_constraint=getattr(source, "embeddings_constraint", None),
        commitment_weight=COMMITMENT if commitment is None else commitment,
        pwr_weight=policy.pwr_weight,
        contrastive_weight=policy.contrastive_weight,
        num_negatives=policy.num_negatives,
        temperature=policy.temperature,
        seed=policy.seed,
        **config,
    )
