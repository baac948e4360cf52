"""What the features of a ranking model must be."""

from collections.abc import Mapping
from typing import Any

from mec_tf.layers.fused_field_embeddings import FusedFieldEmbeddings


def check_fields(
    categorical: Mapping[str, int], numeric: Mapping[str, Any]
) -> None:
    """Raises ValueError unless the features make a model."""
    if not categorical:
        raise ValueError(
            "`categorical` must hold at least one feature. Received none"
        )
    twice = sorted(set(categorical) & set(numeric))
    if twice:
        raise ValueError(
            "`categorical` and `numeric` must have no feature in common. "
            f"Received in both: {twice}"
        )


def check_sequences(
    sequences: Mapping[str, str],
    categorical: Mapping[str, int],
    shared_tables: Mapping[str, str],
) -> None:
    """Raises ValueError unless each sequence has a target of its own."""
    for name, target in sequences.items():
        known = {name, target} <= set(categorical)
        if not known or target in sequences or name in shared_tables:
            raise ValueError(
                "`sequences` must map categorical features that are not in "
                "`shared_tables` to others that are no sequences. Received: "
                f"{name!r}: {target!r}"
            )


def check_fused(layer: FusedFieldEmbeddings, fields: Mapping[str, str]) -> None:
    """Raises ValueError unless fused tables are those of the fields."""
    if layer.fields != fields:
        raise ValueError(
            "`embedding_layer` must have the model's fields where it is "
            f"fused. Received: {dict(layer.fields)}, expected: {fields}"
        )


def check_shared(
    shared_tables: Mapping[str, str], categorical: Mapping[str, int]
) -> None:
    """Raises ValueError unless features share tables that hold them."""
    for name, owner in shared_tables.items():
        if not {name, owner} <= set(categorical) or owner in shared_tables:
            raise ValueError(
                "`shared_tables` must map a categorical feature to another "
                f"that has its own table. Received: {name!r}: {owner!r}"
            )
        if categorical[name] > categorical[owner]:
            raise ValueError(
                f"`shared_tables` must give {name!r} a table of at least "
                f"{categorical[name]} rows. Received: {owner!r}, of "
                f"{categorical[owner]} rows"
            )
