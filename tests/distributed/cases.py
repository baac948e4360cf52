"""What is trained here on one replica, on two, and by two processes."""

import numpy as np
import tensorflow as tf

import mec_tf
from mec_tf.layers import (
    ProductQuantizedEmbedding,
    ResidualQuantizedEmbedding,
    TableEmbedding,
)

ROWS, DIM = 40, 8
RNG = np.random.default_rng(4)
# Popular rows are looked up on both replicas in every batch; 60 is unknown.
IDS = np.minimum(RNG.geometric(0.08, (96, 3)) - 1, ROWS - 1)
IDS[::17, 0] = 60
TARGETS = RNG.normal(size=(96, 1)).astype("float32")
ALL_LOSSES = {
    "commitment_weight": 0.3,
    "pwr_weight": 0.05,
    "contrastive_weight": 0.05,
    "num_negatives": 2,
    "ema_decay": 0.7,  # codes die soon, and move
    "seed": 11,
}


def product(**config):
    return ProductQuantizedEmbedding(ROWS, DIM, 2, 16, **ALL_LOSSES, **config)


def residual(**config):
    return ResidualQuantizedEmbedding(ROWS, DIM, 2, 16, **ALL_LOSSES, **config)


def additive():
    return ProductQuantizedEmbedding(
        ROWS, DIM + 1, 2, 16, additive_dim=1, rotated=True, **ALL_LOSSES
    )


def gradient():
    return product(
        codebook_update="gradient",
        mask_zero=True,
        private_rows=20,
        track_usage=True,
        name="gradient",
    )


def make_model(makers):
    tf.keras.utils.set_random_seed(1)
    ids = tf.keras.Input((3,), dtype="int64")
    parts = [tf.keras.layers.Flatten()(make()(ids)) for make in makers]
    joined = tf.keras.layers.Concatenate()([*parts, *parts[:1]])
    return tf.keras.Model(ids, tf.keras.layers.Dense(1)(joined))


def counted(model):
    for layer in model.layers:
        if hasattr(layer, "add_counts"):
            layer.add_counts(np.bincount(IDS[IDS < ROWS], minlength=ROWS))
    return model


def trained(makers, optimizer, examples=96):
    model = counted(make_model(makers))
    model.compile(optimizer(0.05), "mse")
    data = batches(examples)
    return model, model.fit(data, epochs=2, verbose=0).history


def trained_by_loop(makers, optimizer, strategy):
    """The same without `fit`."""
    model, optimizer = counted(make_model(makers)), optimizer(0.05)
    optimizer.build(model.trainable_variables)
    replicas = strategy.num_replicas_in_sync

    def step(ids, targets):
        with tf.GradientTape() as tape:
            gaps = model(ids, training=True) - targets
            loss = tf.reduce_mean(tf.square(gaps)) + sum(model.losses)
            loss /= replicas
        gradients = tape.gradient(loss, model.trainable_variables)
        pairs = zip(gradients, model.trainable_variables, strict=True)
        optimizer.apply_gradients(pairs)
        return loss

    @tf.function
    def everywhere(batch):
        losses = strategy.run(step, args=batch)
        return strategy.reduce("SUM", losses, axis=None)

    history = {"loss": []}
    for _ in range(2):
        data = strategy.experimental_distribute_dataset(batches())
        losses = [float(everywhere(batch)) for batch in data]
        history["loss"].append(np.mean(losses))
    return model, history


def batches(examples=96):
    data = tf.data.Dataset.from_tensor_slices((IDS, TARGETS))
    return data.take(examples).batch(24)


def full_model():
    """As `compress` takes it."""
    tf.keras.utils.set_random_seed(1)
    ids = tf.keras.Input((3,), dtype="int64")
    vectors = TableEmbedding(ROWS, DIM, name="item")(ids)
    flat = tf.keras.layers.Flatten()(vectors)
    model = tf.keras.Model(ids, tf.keras.layers.Dense(1)(flat))
    model.compile(tf.keras.optimizers.Adam(0.01), "mse", metrics=["mae"])
    return model


def compressed(strategy=None, start="warm", **options):
    model = full_model()
    settings = mec_tf.TableSettings(2, 8)
    policy = mec_tf.CompressionPolicy(
        ratio=5,
        tables={"item": settings},
        start=start,
        pwr_weight=0.01,
        contrastive_weight=0.01,
    )
    return mec_tf.compress(
        model,
        batches(),
        validation_data=batches(),
        **{"policy": policy, "epochs": 2, "verbose": 0, **options},
        strategy=strategy,
    )
