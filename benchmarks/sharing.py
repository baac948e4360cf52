"""What tables would lose if they shared codebooks.

    python -m benchmarks.sharing --output sharing.json

The tables of a full-precision DeepFM on flights that are worth codes are
quantized by k-means, each with codebooks of its own ("own") and all with the
same ("shared"). `error` is the squared error over all lookups, as a share of
the tables' energy; `bytes` are codes and float16 codebooks. One row a layout
and variant: compare errors at like bytes.
"""

import tempfile
from collections.abc import Sequence

import numpy as np
from absl import app, flags

from benchmarks.environment import write_rows
from mec_tf import data, pipeline
from mec_tf.compression import distortion
from mec_tf.compression.settings import TableSettings
from mec_tf.layers.variables import raw
from mec_tf.training import FitSettings

FLAGS = flags.FLAGS
LAYOUTS = (
    ("product", 1, 256), ("product", 2, 256), ("residual", 2, 256),
    ("product", 4, 256), ("residual", 4, 64), ("residual", 4, 256),
    ("product", 8, 256),
)  # fmt: skip


def define_flags() -> None:
    flags.DEFINE_integer("seed", 0, "Of training and k-means.")
    flags.DEFINE_integer("least_rows", 500, "Rows of the smallest table.")
    flags.DEFINE_string("output", None, "Result file, JSON.", required=True)


def trained_tables() -> list[distortion.WeightedRows]:
    """The larger tables of a trained model, and their lookups."""
    log = data.flights()
    job = pipeline.RankingJob(
        settings=FitSettings(embedding_l2=0.1), seed=FLAGS.seed
    )
    with tempfile.TemporaryDirectory() as folder:
        model, _, _ = pipeline.train_full(job, log, folder, verbose=0)
    tables = []
    for name, layer in model.field_embeddings.tables.items():
        if layer.input_dim >= FLAGS.least_rows:
            rows = np.asarray(raw(layer.embeddings))
            width = layer.output_dim - layer.additive_dim
            tables.append(distortion.exact(rows, log.counts[name], width))
    return tables


def measure(
    tables: Sequence[distortion.WeightedRows], layout: tuple[str, int, int]
) -> tuple[float, int]:
    """Error and bytes of tables, each with codebooks of its own."""
    quantizer, codes, size = layout
    settings = TableSettings(codes, size, quantizer=quantizer)
    error, stored = 0.0, 0
    for table in tables:
        _, errors = distortion.quantized_errors(table, *layout, FLAGS.seed)
        error += float(errors.sum())
        stored += settings.stored_bytes(*table.rows.shape, 0)
    return error, stored


def joined(
    tables: Sequence[distortion.WeightedRows],
) -> distortion.WeightedRows:
    """The rows of all tables as those of one."""
    return distortion.WeightedRows(
        np.concatenate([table.rows for table in tables]),
        np.concatenate([table.lookups for table in tables]),
    )


def main(argv):
    del argv
    own = trained_tables()
    variants = {"own": own, "shared": [joined(own)]}
    energy = sum(t.lookups @ np.square(t.rows).sum(axis=1) for t in own)
    rows = []
    for layout in LAYOUTS:
        for variant, tables in variants.items():
            error, stored = measure(tables, layout)
            row = {
                "layout": "{} {}x{}".format(*layout),
                "variant": variant,
                "bytes": stored,
                "error": error / energy,
            }
            print(row, flush=True)
            rows.append(row)
    write_rows(FLAGS.output, rows)


if __name__ == "__main__":
    define_flags()
    app.run(main)
