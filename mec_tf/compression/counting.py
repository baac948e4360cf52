"""The one place where the bytes of tables are counted."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from mec_tf.compression.tables import table_layers
from mec_tf.layers import CodeLookupEmbedding, TieredEmbedding
from mec_tf.layers.variables import raw
from mec_tf.quantizers import packing


def layer_bytes(layer: tf.keras.layers.Layer) -> int:
    """Bytes of the variables that a table needs to answer a request.

    Codes, codebooks, rows of a table left as it is or hashed, at their stored
    size. Optimizer state is not the layer's and does not count.

    Args:
        layer: a built table, compressed or not.
    """
    if isinstance(layer, TieredEmbedding):
        return sum(layer_bytes(tier) for tier in layer.tiers)
    names = getattr(layer, "table_variables", ("embeddings",))
    held = [getattr(layer, name, None) for name in names]
    return sum(
        int(np.prod(variable.shape)) * variable.dtype.size
        for variable in (raw(weight) for weight in held if weight is not None)
    )


def model_bytes(model: tf.keras.Model) -> dict[str, int]:
    """Bytes of every table of a model, by path; each shared one once.

    Args:
        model: built; its tables compressed or not.
    """
    return {
        path: layer_bytes(layer) for path, layer in table_layers(model).items()
    }


def full_bytes(model: tf.keras.Model) -> int:
    """Bytes of the same tables as float32.

    Args:
        model: as of `model_bytes`.
    """
    return sum(
        layer.input_dim * layer.output_dim * 4
        for layer in table_layers(model).values()
    )


def whole_codes(
    codes: np.ndarray, rows: int, settings: Mapping[str, Any]
) -> np.ndarray:
    """Codes `[stored rows, M]` as integers, of an array of them.

    Args:
        codes: as a layer stores them.
        rows: of the table.
        settings: the layer's `num_subspaces`, `codebook_size` and, where
            not the default, `private_rows` and `bit_packed`.
    """
    if not settings.get("bit_packed"):
        return codes
    return packing.unpack_bits(
        codes,
        settings.get("private_rows") or rows,
        settings["num_subspaces"],
        settings["codebook_size"],
    )


def code_usage(codes: np.ndarray, codebook_size: int) -> str:
    """How many of the codes are in use, in words."""
    used = np.mean([len(np.unique(part)) for part in codes.T])
    perplexity = code_perplexity(codes, codebook_size)
    return (
        f"{codes.shape[1]} x {codebook_size} codes, {used:.0f} in use, "
        f"perplexity {perplexity:.0f}"
    )


def layer_usage(layer: tf.keras.layers.Layer) -> str:
    """How a table is stored: its codes in use, or the class of the layer."""
    if isinstance(layer, CodeLookupEmbedding):
        return code_usage(layer.row_codes(), layer.codebook_size)
    if isinstance(layer, TieredEmbedding):
        return in_tiers(
            (tier.input_dim, layer_usage(tier)) for tier in layer.tiers
        )
    return type(layer).__name__


def in_tiers(tiers: Iterable[tuple[int, str]]) -> str:
    """What is said of each tier, with its rows."""
    return "; ".join(f"{rows:,} rows: {words}" for rows, words in tiers)


def layer_perplexity(layer: tf.keras.layers.Layer) -> float | None:
    """`code_perplexity` of a table, its mean over tiers; None without codes."""
    tiers = getattr(layer, "tiers", [layer])
    values = [
        code_perplexity(tier.row_codes(), tier.codebook_size)
        for tier in tiers
        if isinstance(tier, CodeLookupEmbedding)
    ]
    return float(np.mean(values)) if values else None


def code_perplexity(codes: np.ndarray, codebook_size: int) -> float:
    """Mean over sub-spaces of `exp(entropy)` of the codes' shares of rows."""
    values = []
    for part in codes.T:
        counts = np.bincount(part, minlength=codebook_size)
        shares = counts[counts > 0] / len(part)
        values.append(np.exp(-(shares * np.log(shares)).sum()))
    return float(np.mean(values))
