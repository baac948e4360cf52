"""A copy of a model that looks its tables up together."""

from typing import Any

import tensorflow as tf

from mec_tf.compression.carry_weights import carry_weights
from mec_tf.layers import FieldEmbeddings, FusedFieldEmbeddings

FIELDS = "field_embeddings"


def fuse(model: tf.keras.Model) -> tf.keras.Model:
    """A copy of a ranking model for inference, with fused tables.

    Tables of one layout (compressed ones, or exact ones of one width) move
    into one variable, and the ids of all their features are looked up by one
    gather of codes and one of codebook entries in place of two a feature.
    The copy gives the same answers, takes as many bytes for its tables, and
    is saved to `.keras` like any other. Fuse a model after it was trained and
    compressed: the fused tables cannot be trained, and the copy is not
    compiled. `mec_tf.export.save` does it by itself.

    Args:
        model: a built ranking model of this package; stays as it is.

    Raises:
        TypeError: if `model` is not a ranking model of this package.
        ValueError: if it is not built, or fused already.

    Example:
        >>> fused = mec_tf.fuse(result.model)  # doctest: +SKIP
    """
    fields: Any = getattr(model, FIELDS, None)
    if not isinstance(fields, (FieldEmbeddings, FusedFieldEmbeddings)):
        raise TypeError(
            "`model` must be a ranking model of mec_tf.models. Received: "
            f"{type(model).__name__}"
        )
    if not can_fuse(model):
        state = "not built" if not model.built else "a fused model"
        raise ValueError(
            f"`model` must be built, and not fused. Received: {state}"
        )
    config = model.get_config()
    config["embedding_layer"] = FusedFieldEmbeddings.from_fields(fields)
    copy = type(model)(**config)
    copy.build(None)
    carry_weights(model, copy, {FIELDS})
    return copy


def can_fuse(model: tf.keras.Model) -> bool:
    """Whether `fuse` takes the model."""
    fields = getattr(model, FIELDS, None)
    return (
        bool(model.built)
        and isinstance(fields, FieldEmbeddings)
        and getattr(model, "config_holds_tables", False)
    )
