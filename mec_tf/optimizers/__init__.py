"""Optimizers for big tables."""

from mec_tf.optimizers.lazy_adagrad import LazyAdagrad
from mec_tf.optimizers.lazy_adam import LazyAdam

__all__ = ["LazyAdagrad", "LazyAdam"]
