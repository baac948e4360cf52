"""The layers that take a table's place: one that learns codes, one frozen."""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from mec_tf.compression.policy import CompressionPolicy, TableSettings
from mec_tf.compression.tables import Table
from mec_tf.layers import (
    ProductQuantizedEmbedding,
    QuantizedEmbedding,
    ResidualQuantizedEmbedding,
    TableEmbedding,
    TableLayer,
    TieredEmbedding,
)


def trainable(
    table: Table, settings: TableSettings, policy: CompressionPolicy
) -> Callable[[], TableLayer]:
    """Makes the layer that learns a table's codes."""
    source = table.layer
    whole = {
        "private_rows": settings.private_rows,
        "mask_zero": getattr(source, "mask_zero", False),
        "oov": getattr(source, "oov", "zero"),
        "name": source.name,
        "dtype": policy_of(source),
    }

    def make() -> TableLayer:
        if settings.heads:
            tiers = [
                _tier(table, rows, tier, policy, name=f"tier_{place}")
                for place, (rows, tier) in enumerate(settings.tiers(table.rows))
            ]
            made = TieredEmbedding(
                table.rows,
                table.dim,
                tiers,
                additive_dim=table.additive_dim,
                **whole,
            )
        else:
            made = _tier(table, table.rows, settings, policy, **whole)
        made.trainable = source.trainable
        return made

    return make


def _tier(
    table: Table,
    rows: int,
    settings: TableSettings,
    policy: CompressionPolicy,
    **kwargs: Any,
) -> TableLayer:
    """A trainable layer for so many rows of a table."""
    source = table.layer
    kwargs["additive_dim"] = table.additive_dim
    kwargs["embeddings_initializer"] = source.embeddings_initializer
    if not settings.num_subspaces:
        return TableEmbedding(rows, table.dim, **kwargs)
    kind: Callable[..., QuantizedEmbedding] = ProductQuantizedEmbedding
    if settings.quantizer == "residual":
        kind = ResidualQuantizedEmbedding
    elif settings.quantizer == "rotated":
        kind = functools.partial(kind, rotated=True)
    return kind(
        rows,
        table.dim,
        settings.num_subspaces,
        settings.codebook_size,
        embeddings_regularizer=getattr(source, "embeddings_regularizer", None),
        embeddings_constraint=getattr(source, "embeddings_constraint", None),
        commitment_weight=policy.commitment_weight,
        pwr_weight=policy.pwr_weight,
        contrastive_weight=policy.contrastive_weight,
        num_negatives=policy.num_negatives,
        temperature=policy.temperature,
        **kwargs,
    )


def frozen(
    layer: Any,
    table: Table,
    settings: TableSettings,
    state: dict[str, np.ndarray],
) -> Callable[[], TableLayer]:
    """Makes the frozen layer of a `frozen_state` of what `trainable` made."""
    config: dict[str, Any] = _frozen_config(settings)
    if settings.heads:
        tiers = settings.tiers(table.rows)
        config = {"tiers": [_frozen_config(tier) for _, tier in tiers]}
    return lambda: layer.freeze(state, **config, dtype=policy_of(table.layer))


def _frozen_config(settings: TableSettings) -> dict[str, Any]:
    return {
        "codebook_dtype": settings.codebook_dtype,
        "bit_packed": settings.bit_packed,
    }


def policy_of(layer: Any) -> Any:
    """The dtype policy of a layer of either Keras."""
    return getattr(layer, "dtype_policy", None) or layer.dtype
