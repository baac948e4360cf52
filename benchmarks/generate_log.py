"""Writes a CSV of id columns with Zipf popularity and a planted label.

    python -m benchmarks.generate_log --output log.csv --rows 5000000

Column sizes fall geometrically from the first to the last and sum to
`--values`. Labels are drawn from a logistic model with a Gaussian weight a
value.
"""

import numpy as np
import pyarrow as pa
from absl import app, flags
from pyarrow import csv
from tqdm import tqdm

FLAGS = flags.FLAGS
flags.DEFINE_string("output", None, "CSV file to write.", required=True)
flags.DEFINE_integer("rows", 5_000_000, "Rows.")
flags.DEFINE_integer("columns", 26, "Id columns.")
flags.DEFINE_integer("values", 1_000_000, "Distinct values, all columns.")
flags.DEFINE_float("exponent", 1.05, "Of the Zipf popularity.")
flags.DEFINE_integer("seed", 0, "Of everything random.")

BLOCK = 500_000


def sizes(columns: int, values: int) -> np.ndarray:
    """Values a column, falling by a fifth from column to column."""
    shares = 0.8 ** np.arange(columns)
    return np.maximum(4, values * shares / shares.sum()).astype(int)


def main(argv):
    del argv
    rng = np.random.default_rng(FLAGS.seed)
    counts = sizes(FLAGS.columns, FLAGS.values)
    weights = [rng.normal(scale=0.35, size=n) for n in counts]
    odds = []
    for n in counts:
        mass = np.arange(1, n + 1) ** -FLAGS.exponent
        odds.append(np.cumsum(mass / mass.sum()))
    schema = pa.schema(
        [("label", pa.int8())]
        + [(f"c{i}", pa.string()) for i in range(FLAGS.columns)]
    )
    with csv.CSVWriter(FLAGS.output, schema) as writer:
        for start in tqdm(range(0, FLAGS.rows, BLOCK)):
            rows = min(BLOCK, FLAGS.rows - start)
            logit = np.full(rows, -1.0)
            columns = []
            for i, n in enumerate(counts):
                ids = np.searchsorted(odds[i], rng.random(rows))
                ids = np.minimum(ids, n - 1)
                logit += weights[i][ids]
                names = pa.array([f"v{i}_{k}" for k in range(n)])
                columns.append(names.take(pa.array(ids)))
            label = rng.random(rows) < 1.0 / (1.0 + np.exp(-logit))
            label = pa.array(label.astype(np.int8))
            writer.write(pa.table([label, *columns], schema=schema))


if __name__ == "__main__":
    app.run(main)
