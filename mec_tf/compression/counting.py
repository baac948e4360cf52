"""The one place where the bytes of tables are counted."""

import numpy as np
import tensorflow as tf

from mec_tf.compression.tables import table_layers
from mec_tf.layers.variables import raw


def layer_bytes(layer: tf.keras.layers.Layer) -> int:
    """Bytes of the variables that a table needs to answer a request.

    Codes, codebooks, or the rows of a table left as it is, at their stored
    size. Optimizer state is not the layer's and does not count.
    """
    names = ("codes", "codebooks", "additive", "embeddings")
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


def code_perplexity(codes: np.ndarray, codebook_size: int) -> float:
    """Mean over sub-spaces of `exp(entropy)` of the codes' shares of rows."""
    values = []
    for part in codes.T:
        counts = np.bincount(part, minlength=codebook_size)
        shares = counts[counts > 0] / len(part)
        values.append(np.exp(-(shares * np.log(shares)).sum()))
    return float(np.mean(values))
