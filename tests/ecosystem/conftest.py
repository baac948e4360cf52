"""Libraries of one Keras only: the other Keras's run does not collect them."""

import importlib.util

import tensorflow as tf

KERAS_3 = hasattr(tf.keras, "ops")
# keras-rs needs a later Python than this package; it is an optional extra.
KERAS_RS = importlib.util.find_spec("keras_rs") is not None

collect_ignore = ["test_tfrs.py"] if KERAS_3 else []
if not (KERAS_3 and KERAS_RS):
    collect_ignore.append("test_keras_rs.py")
