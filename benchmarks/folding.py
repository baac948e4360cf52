"""How much faster requests are whose first layer looks products up.

    python -m benchmarks.folding --output folding.json

A ranking model of random codes is exported twice, as it is ("unfolded") and
with `fold=True` ("folded"), and both answer the same requests in turn. `ratio`
is the median time of the unfolded export over the median of the variant;
`bytes` are those of the tables, products included. The folded one's requests
of more than a few examples are multiplied as ever; so that this rule can be
checked, "always looked up" takes no notice of it.
"""

import statistics
import tempfile
import time
from typing import Any
from unittest import mock

import numpy as np
import tensorflow as tf
from absl import app, flags

import mec_tf
from benchmarks.environment import write_rows
from mec_tf.export import fold
from mec_tf.layers import CodeLookupEmbedding
from mec_tf.models import BACKBONES

FLAGS = flags.FLAGS
UNFOLDED = "unfolded"
EXAMPLES = 64  # of a timing, in 4 requests or more


def define_flags() -> None:
    flags.DEFINE_list("model", ["deepfm", "dcnv2"], "Backbones.")
    flags.DEFINE_list("batch", ["1", "8", "16", "64", "512"], "Examples.")
    flags.DEFINE_integer("rows", 100_000, "Rows of each table.")
    flags.DEFINE_integer("fields", 26, "Tables.")
    flags.DEFINE_integer("dim", 40, "Width of a vector.")
    flags.DEFINE_integer("width", 300, "Width of the tower.")
    flags.DEFINE_integer("num_subspaces", 2, "Codes a row.")
    flags.DEFINE_integer("codebook_size", 256, "Entries a codebook.")
    flags.DEFINE_integer("rounds", 25, "Timings of each.")
    flags.DEFINE_string("output", None, "Result file, JSON.", required=True)


def make_model(backbone: str) -> tf.keras.Model:
    """A model of random codes: their values do not change its speed."""
    rng = np.random.default_rng(0)
    size, subspaces = FLAGS.codebook_size, FLAGS.num_subspaces

    def table(
        name: str, rows: int, width: int, additive: int
    ) -> CodeLookupEmbedding:
        entry = (width - additive) // subspaces + additive
        return CodeLookupEmbedding.from_codes(
            rng.integers(0, size, (rows, subspaces), np.uint16),
            rng.normal(scale=0.05, size=(subspaces, size, entry)),
            additive_dim=additive,
        )

    model = BACKBONES[backbone](
        {f"field_{place}": FLAGS.rows for place in range(FLAGS.fields)},
        embedding_dim=FLAGS.dim,
        hidden_units=(FLAGS.width,) * 3,
        embedding_layer=table,
    )
    model.build(None)
    return model


def server(signature: Any, batch: int) -> Any:
    """A function that answers requests `[n, fields, batch]`, one by one.

    The loop stands in the graph: Python takes longer to pass the fields of a
    request than the model to answer it.
    """
    names = list(signature.structured_input_signature[1])

    def answer(request: tf.Tensor) -> tf.Tensor:
        inputs = dict(zip(names, tf.unstack(request), strict=True))
        (output,) = signature(**inputs).values()
        return tf.reduce_sum(output)

    def serve(requests: tf.Tensor) -> tf.Tensor:
        return tf.map_fn(
            answer,
            requests,
            fn_output_signature=tf.float32,
            parallel_iterations=1,
        )

    spec = tf.TensorSpec([None, len(names), batch], tf.int32)
    return tf.function(serve, input_signature=[spec])


def median_times(runs: dict[str, Any], requests: tf.Tensor) -> dict[str, float]:
    """Microseconds a request of each variant, timed in turn."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(FLAGS.rounds + 1):
        for name, run in runs.items():
            run(requests[-2:])  # after another variant the caches are cold
            started = time.perf_counter()
            run(requests)
            seconds = (time.perf_counter() - started) / len(requests)
            if turn:  # the first one traces
                times[name].append(1e6 * seconds)
    return {name: statistics.median(found) for name, found in times.items()}


def measure(backbone: str, folder: str) -> list[dict[str, Any]]:
    """Rows of the result, of one backbone."""
    model = make_model(backbone)
    reports = {
        UNFOLDED: mec_tf.export.save(model, f"{folder}/unfolded"),
        "folded": mec_tf.export.save(model, f"{folder}/folded", fold=True),
    }
    with mock.patch.object(fold, "most_examples", lambda *_: 1 << 30):
        reports["always looked up"] = mec_tf.export.save(
            model, f"{folder}/always", fold=True
        )
    loaded = {n: tf.saved_model.load(r.path) for n, r in reports.items()}
    rng = np.random.default_rng(1)
    rows = []
    for batch in map(int, FLAGS.batch):
        runs = {
            name: server(one.signatures["ids"], batch)
            for name, one in loaded.items()
        }
        shape = (max(4, EXAMPLES // batch), FLAGS.fields, batch)
        requests = tf.constant(rng.integers(0, FLAGS.rows, shape), tf.int32)
        medians = median_times(runs, requests)
        rows += [
            {
                "model": backbone,
                "batch": batch,
                "variant": name,
                "p50_us": round(p50, 1),
                "ratio": round(medians[UNFOLDED] / p50, 3),
                "bytes": reports[name].bytes_on_disk,
                "fields": FLAGS.fields,
                "dim": FLAGS.dim,
                "width": FLAGS.width,
                "num_subspaces": FLAGS.num_subspaces,
                "codebook_size": FLAGS.codebook_size,
            }
            for name, p50 in medians.items()
        ]
    return rows


def main(argv: list[str]) -> None:
    del argv
    rows: list[dict[str, Any]] = []
    for backbone in FLAGS.model:
        with tempfile.TemporaryDirectory() as folder:
            fresh = measure(backbone, folder)
        for row in fresh:
            print(
                f"{row['model']:<8}{row['batch']:>6}  {row['variant']:<18}"
                f"{row['p50_us']:10.0f} us{row['ratio']:7.2f}"
                f"{row['bytes']:>14,} bytes",
                flush=True,
            )
        rows += fresh
        write_rows(FLAGS.output, rows)


if __name__ == "__main__":
    define_flags()
    app.run(main)
