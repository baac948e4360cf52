"""Writes a Criteo-shaped log: id columns with Zipf popularity, planted labels.

    python -m benchmarks.generate_log --output log.csv --rows 5000000

Column sizes fall geometrically from the first to the last and sum to
`--values`. Labels are drawn from a planted factorization machine: each value
has a Gaussian weight and a Gaussian vector of its own. A `.parquet` file holds
values as integers, a `.csv` file as strings.
"""

import contextlib
import pathlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from absl import app, flags
from pyarrow import csv
from tqdm import tqdm

FLAGS = flags.FLAGS
flags.DEFINE_string("output", None, "File to write.", required=True)
flags.DEFINE_integer("rows", 5_000_000, "Rows.")
flags.DEFINE_integer("columns", 26, "Id columns.")
flags.DEFINE_integer("values", 1_000_000, "Possible values, all columns.")
flags.DEFINE_float("exponent", 1.05, "Of the Zipf popularity.")
flags.DEFINE_integer("planted_dim", 4, "Width of the planted vectors.")
flags.DEFINE_integer("seed", 0, "Of everything random.")

BLOCK = 250_000


def sizes(columns: int, values: int) -> np.ndarray:
    """Values a column, falling by a fifth from column to column."""
    shares = 0.8 ** np.arange(columns)
    return np.maximum(4, values * shares / shares.sum()).astype(int)


class PlantedModel:
    """Draws examples: ids by popularity, labels by a factorization machine."""

    def __init__(self, counts, exponent, dim, rng):
        self.rng = rng
        self.weights = [rng.normal(scale=0.3, size=n) for n in counts]
        scale = (0.1 / max(dim, 1)) ** 0.5 / len(counts) ** 0.25
        self.vectors = [
            rng.normal(scale=scale, size=(n, dim)).astype(np.float32)
            for n in counts
        ]
        self.upto = []
        for n in counts:
            mass = np.arange(1, n + 1) ** -exponent
            self.upto.append(np.cumsum(mass / mass.sum()))

    def draw(self, rows: int) -> tuple[list[np.ndarray], np.ndarray]:
        """Ids, a column each, and labels."""
        logit = np.full(rows, -1.0)
        total = np.zeros((rows, self.vectors[0].shape[1]))
        squares = np.zeros(rows)
        columns = []
        for upto, weights, vectors in zip(
            self.upto, self.weights, self.vectors, strict=True
        ):
            ids = np.searchsorted(upto, self.rng.random(rows))
            ids = np.minimum(ids, len(upto) - 1)
            columns.append(ids)
            logit += weights[ids]
            picked = vectors[ids]
            total += picked
            squares += np.square(picked).sum(axis=1)
        logit += 0.5 * (np.square(total).sum(axis=1) - squares)
        chance = 1.0 / (1.0 + np.exp(-logit))
        return columns, self.rng.random(rows) < chance


def as_strings(place: int, ids: np.ndarray) -> pa.Array:
    distinct, places = np.unique(ids, return_inverse=True)
    names = pa.array([f"v{place}_{k}" for k in distinct])
    return names.take(pa.array(places))


def main(argv):
    del argv
    rng = np.random.default_rng(FLAGS.seed)
    counts = sizes(FLAGS.columns, FLAGS.values)
    planted = PlantedModel(counts, FLAGS.exponent, FLAGS.planted_dim, rng)
    whole = pathlib.Path(FLAGS.output).suffix in (".parquet", ".pq")
    kind = pa.int64() if whole else pa.string()
    schema = pa.schema(
        [("label", pa.int8())] + [(f"c{i}", kind) for i in range(FLAGS.columns)]
    )
    with contextlib.ExitStack() as stack:
        make = pq.ParquetWriter if whole else csv.CSVWriter
        writer = stack.enter_context(make(FLAGS.output, schema))
        for start in tqdm(range(0, FLAGS.rows, BLOCK)):
            columns, labels = planted.draw(min(BLOCK, FLAGS.rows - start))
            table = pa.table(
                [
                    pa.array(labels.astype(np.int8)),
                    *(
                        pa.array(ids) if whole else as_strings(place, ids)
                        for place, ids in enumerate(columns)
                    ),
                ],
                schema=schema,
            )
            (writer.write_table if whole else writer.write)(table)


if __name__ == "__main__":
    app.run(main)
