"""The one place where the bytes of tables are counted."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from mec_tf.compression.tables import table_layers
from mec_tf.layers.variables import raw
from mec_tf.quantizers import packing


def layer_bytes(layer: tf.keras.layers.Layer) -> int:
    """Bytes of the variables that a table needs to answer a request.

    Codes, codebooks, rows of a table left as it is or hashed, at their stored
    size. Optimizer state is not the layer's and does not count.
    """
    names = (
        "codes",
        "codebooks",
        "additive",
        "rotation",
        "embeddings",
        "quotient_embeddings",
    )
    held = [getattr(layer, name, None) for name in names]
    return sum(
        int(np.prod(variable.shape)) * variable.dtype.size
        for variable in (raw(weight) for weight in held if weight is not None)
    )


def model_bytes(model: tf.keras.Model) -> dict[str, int]:
    """Bytes of every table of a model, by path; each shared one once."""
    return {
        path: layer_bytes(layer) for path, layer in table_layers(model).items()
    }


def full_bytes(model: tf.keras.Model) -> int:
    """Bytes of the same tables as float32."""
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


def code_perplexity(codes: np.ndarray, codebook_size: int) -> float:
    """Mean over sub-spaces of `exp(entropy)` of the codes' shares of rows."""
    values = []
    for part in codes.T:
        counts = np.bincount(part, minlength=codebook_size)
        shares = counts[counts > 0] / len(part)
        values.append(np.exp(-(shares * np.log(shares)).sum()))
    return float(np.mean(values))
