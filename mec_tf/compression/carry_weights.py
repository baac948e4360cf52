"""Weights of a model, carried over to its copy layer by layer."""

from typing import Any, TypeAlias

import tensorflow as tf

from mec_tf.compression import tables as finding

Layer: TypeAlias = tf.keras.layers.Layer


def cannot_copy(reason: str) -> ValueError:
    """The error of a model without a usable copy."""
    return ValueError(
        f"`model` cannot be copied: {reason}. Give `model_fn`, a function "
        "that returns a new, unbuilt model of the same structure."
    )


def carry_vocabularies(source: tf.keras.Model, target: tf.keras.Model) -> None:
    """Gives lookup layers the vocabularies they learned; before building."""
    theirs = dict(finding.walk(target))
    for path, layer in finding.walk(source):
        if not hasattr(layer, "get_vocabulary") or path not in theirs:
            continue
        words = layer.get_vocabulary(include_special_tokens=False)
        if words != theirs[path].get_vocabulary(include_special_tokens=False):
            theirs[path].set_vocabulary(words)


def carry_weights(
    source: tf.keras.Model,
    target: tf.keras.Model,
    skip: set[str],
    learned: bool = True,
) -> None:
    """Copies each layer's own weights and `trainable`, by path.

    Args:
        source: the model to copy from.
        target: the model to copy to.
        skip: paths that are left as they are, with what is inside of them.
        learned: False copies only what preprocessing layers hold.

    Raises:
        ValueError: if the two models do not have the same layers.
    """
    ours = {"": source, **dict(finding.walk(source))}
    theirs = {"": target, **dict(finding.walk(target))}
    inside = tuple(path + "/" for path in skip)
    kept = {
        path: layer
        for path, layer in ours.items()
        if path not in skip and not path.startswith(inside)
    }
    missing = sorted(set(kept) - set(theirs))
    if missing:
        raise cannot_copy(f"the copy lacks {', '.join(missing[:5])}")
    for path, layer in kept.items():
        if learned or isinstance(layer, tf.keras.layers.Normalization):
            _carry(layer, theirs[path], path)
        if not layer.trainable:
            theirs[path].trainable = False


def _carry(source: Layer, target: Layer, path: str) -> None:
    store: dict[str, Any] = {}
    if hasattr(source, "get_vocabulary"):
        return  # carried before building
    try:
        source.save_own_variables(store)
        target.load_own_variables(store)
    except Exception as error:
        raise cannot_copy(
            f"the weights of {path or 'the model'} do not fit its copy "
            f"({str(error).strip().splitlines()[0]})"
        ) from error
