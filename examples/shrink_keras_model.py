"""Shrink a Keras model of your own: train, compress, save, serve.

    pip install 'mec_tf[demo]'
    python examples/shrink_keras_model.py --output_dir out

The model is plain Keras and knows nothing of mec_tf. The data are a year of
flights; the task is to tell which arrive more than 15 minutes late.
"""

import pathlib

import tensorflow as tf
from absl import app, flags

import mec_tf

FLAGS = flags.FLAGS
flags.DEFINE_string("output_dir", None, "New directory.", required=True)
flags.DEFINE_float("ratio", 30, "How many times smaller.")

FIELDS = ("flight", "tailnum", "origin_x_dest", "tailnum_x_dest", "hour")


def make_model(log: mec_tf.data.Log) -> tf.keras.Model:
    """An ordinary functional model: an embedding a field, and a tower."""
    inputs, vectors = {}, []
    for name in FIELDS:
        inputs[name] = tf.keras.Input((), dtype="int32", name=name)
        rows = log.vocabularies[name].size
        table = tf.keras.layers.Embedding(
            rows,
            32,
            # Small rows quantize well.
            embeddings_initializer=tf.keras.initializers.RandomUniform(
                -0.005, 0.005
            ),
            name=f"{name}_table",
        )
        vectors.append(table(inputs[name]))
    hidden = tf.keras.layers.Concatenate()(vectors)
    for units in (128, 64):
        hidden = tf.keras.layers.Dense(units, activation="relu")(hidden)
    model = tf.keras.Model(inputs, tf.keras.layers.Dense(1)(hidden))
    model.compile(
        "adam",
        tf.keras.losses.BinaryCrossentropy(from_logits=True),
        metrics=[tf.keras.metrics.AUC(from_logits=True, name="auc")],
    )
    return model


def main(argv):
    del argv
    out = pathlib.Path(FLAGS.output_dir)
    out.mkdir(parents=True)
    log = mec_tf.data.flights()

    def batches(split, shuffle=False):
        data = log.dataset(split, 1024, shuffle=shuffle)
        return data.map(lambda x, y: ({name: x[name] for name in FIELDS}, y))

    model = make_model(log)
    model.fit(batches("train", shuffle=True), epochs=1, verbose=2)

    result = mec_tf.compress(
        model,
        batches("train", shuffle=True),
        validation_data=batches("validation"),
        policy=mec_tf.CompressionPolicy(ratio=FLAGS.ratio),
        monitor="val_auc",
        epochs=2,
        patience=1,
        verbose=2,
    )
    print(result.report)

    for name, each in (("full", model), ("compressed", result.model)):
        scores = each.evaluate(batches("test"), verbose=0, return_dict=True)
        print(f"{name}: test AUC {scores['auc']:.4f}")

    result.model.save(out / "model.keras")
    exported = mec_tf.export.save(
        result.model,
        out / "serving" / "1",
        vocabularies={name: log.vocabularies[name] for name in FIELDS},
        activation="sigmoid",
    )
    print(exported)

    # What TensorFlow Serving would answer for one flight.
    served = tf.saved_model.load(str(out / "serving" / "1"))
    answer = served.signatures["serving_default"](
        flight=tf.constant(["UA1545"]),
        tailnum=tf.constant(["N14228"]),
        origin_x_dest=tf.constant(
            [log.vocabularies["origin_x_dest"].values[0]]
        ),
        tailnum_x_dest=tf.constant(["never seen"]),
        hour=tf.constant([log.vocabularies["hour"].values[0]]),
    )
    print(f"late with probability {float(answer['probability'][0, 0]):.2f}")


if __name__ == "__main__":
    app.run(main)
