"""Optimizers for big tables."""

from mec_tf.optimizers.lazy_adam import LazyAdam

__all__ = ["LazyAdam"]
