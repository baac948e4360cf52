"""Codes against a float64 reference, on numbers of every magnitude.

    python -m benchmarks.reliability.numerics \
        --output benchmarks/results/reliability_numerics.json

Rows of the result, by "check":

- "encode": mean squared error of the codes found, relative to that of the
  codes that NumPy finds in float64 ("excess"; the bar is 1e-5), and how many
  codes differ; "decode_error" is the largest error of the decoded vectors
  relative to the longest.
- "agreement": codes that a way of running finds, against those of `encode`.
- "kmeans": error of centroids, as "excess" over the float64 reference.
- "ties": cases in which several codes are exactly equally near; "wrong" counts
  codes that are not the lowest of them, over all ways of running.
- "float16" and "mixed": outputs against float32 ones, rounded.
- "refused": NaN, infinity and what float16 cannot hold, each a ValueError.

It ends with an error where a bar is missed.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf
from absl import app, flags

from benchmarks.environment import write_rows
from benchmarks.reliability.float64_reference import (
    distortion,
    random_rows,
    reference_codes,
    reference_vectors,
)
from benchmarks.reliability.numeric_ties import ties_row
from mec_tf import layers
from mec_tf.layers.variables import raw
from mec_tf.quantizers import (
    ProductQuantizer,
    Quantizer,
    ResidualQuantizer,
    fit_rotated,
    weighted_kmeans,
)
from mec_tf.quantizers.kmeans import POINTS_PER_CENTROID

FLAGS = flags.FLAGS
BAR = 1e-5
FIT_ROWS = 20_000
GROUPS = 16  # of which k-means looks at all points, without a sample

# What is encoded.

LAYOUTS: dict[str, tuple[Quantizer, int, bool]] = {
    "product 4 x 256": (ProductQuantizer(4, 256), 40, False),
    "product 8 x 16": (ProductQuantizer(8, 16), 40, False),
    "product, 1 column a code": (ProductQuantizer(8, 256), 8, False),
    "rotated 4 x 256": (ProductQuantizer(4, 256), 40, True),
    "residual 2 x 256": (ResidualQuantizer(2, 256), 40, False),
}
KINDS = (
    "normal", "grid", "offset", "clusters", "magnitudes", "1e30", "largest",
    "1e-30", "1e-37",
)  # fmt: skip


class Encoded:
    """Rows, codebooks fitted to some of them, and the codes of all."""

    def __init__(self, layout: str, kind: str, rows: int, seed: int):
        self.quantizer, dim, rotated = LAYOUTS[layout]
        self.residual = isinstance(self.quantizer, ResidualQuantizer)
        self.table = random_rows(kind, rows, dim, seed)
        sample = self.table[:FIT_ROWS]
        self.rotation = None
        if rotated:
            self.rotation, self.books = fit_rotated(
                sample, self.quantizer, seed=seed
            )
        else:
            self.books = self.quantizer.fit(sample, seed=seed)
        self.codes = self.quantizer.encode(
            self.table, self.books, self.rotation
        )

    def row(self) -> dict[str, Any]:
        goal = self.table
        if self.rotation is not None:
            goal = goal.astype(np.float64) @ self.rotation.astype(np.float64)
        right = reference_codes(goal, self.books, self.residual)
        best = reference_vectors(right, self.books, self.residual)
        least = distortion(goal, best)
        found = reference_vectors(self.codes, self.books, self.residual)
        decoded = self.quantizer.decode(self.codes, self.books)
        # Sums that are subnormal may be zero.
        error = np.abs(decoded - found) - np.finfo(np.float32).tiny
        return {
            "rows": len(self.table),
            "distortion": least,
            "excess": distortion(goal, found) / least - 1.0,
            "differing": int((right != self.codes).sum()),
            "decode_error": float(max(0.0, error.max()) / np.abs(found).max()),
        }

    def agreement(self) -> Iterator[dict[str, Any]]:
        """How many codes other ways of running find differently."""

        def assign(vectors: tf.Tensor) -> tf.Tensor:
            if self.rotation is not None:
                vectors = tf.matmul(vectors, self.rotation)
            return self.quantizer.assign(vectors, tf.constant(self.books))[0]

        ways: dict[str, tuple[Callable[..., Any], int]] = {
            "eager, 1000 rows": (assign, 1000),
            "graph, 4096 rows": (tf.function(assign), 4096),
            "xla, 16384 rows": (tf.function(assign, jit_compile=True), 16384),
        }
        for way, (run, size) in ways.items():
            # Whole chunks: XLA compiles each size.
            whole = max(1, len(self.table) // size) * size
            found = [
                run(tf.constant(self.table[start : start + size])).numpy()
                for start in range(0, min(whole, len(self.table)), size)
            ]
            codes = np.concatenate(found)
            yield {
                "way": way,
                "rows": len(codes),
                "differing": int((codes != self.codes[: len(codes)]).sum()),
            }


def encode_rows(
    rows: int, other_rows: int, seed: int
) -> Iterator[dict[str, Any]]:
    """All layouts on normal rows, all kinds of rows on two layouts."""
    several = ("product 4 x 256", "residual 2 x 256")
    for layout in LAYOUTS:
        for kind in KINDS:
            if kind != "normal" and layout not in several:
                continue
            size = rows if kind == "normal" else other_rows
            encoded = Encoded(layout, kind, size, seed)
            head = {"layout": layout, "kind": kind}
            yield {"check": "encode", **head, **encoded.row()}
            if kind in ("normal", "grid"):
                for row in encoded.agreement():
                    yield {"check": "agreement", **head, **row}


# k-means.


def kmeans_row(kind: str, rows: int, seed: int) -> dict[str, Any]:
    """Planted groups: the centroids are their means, rounded to float32."""
    rng = np.random.default_rng(seed)
    centers = random_rows(kind, GROUPS, 5, seed).astype(np.float64)
    spread = np.abs(centers - centers.mean(0)).max()
    group = np.arange(rows) % GROUPS
    points = centers[group] + 1e-3 * spread * rng.normal(size=(rows, 5))
    points = points.astype(np.float32)
    found = weighted_kmeans(points, GROUPS, seed=seed).astype(np.float64)
    exact = points.astype(np.float64)
    means = np.stack([exact[group == g].mean(0) for g in range(GROUPS)])
    means = means.astype(np.float32).astype(np.float64)
    least = distortion(points, means[group])
    nearby = reference_codes(points, found[None], False)[:, 0]
    return {
        "check": "kmeans",
        "kind": kind,
        "rows": rows,
        "excess": distortion(points, found[nearby]) / least - 1.0,
    }


# Narrow floats.


def float16_row(layout: str, rows: int, seed: int) -> dict[str, Any]:
    """A layer with float16 codebooks, against float64 sums of the same."""
    quantizer, dim, rotated = LAYOUTS[layout]
    table = random_rows("normal", rows, dim, seed)
    residual = isinstance(quantizer, ResidualQuantizer)
    kind = "residual" if residual else "rotated" if rotated else "product"
    layer = layers.CodeLookupEmbedding.from_table(
        table, quantizer.num_codes, quantizer.codebook_size,
        quantizer=kind, codebook_dtype="float16", seed=seed,
    )  # fmt: skip
    shape = (quantizer.num_codes, quantizer.codebook_size, -1)
    books = raw(layer.codebooks).numpy().reshape(shape)
    right = reference_vectors(layer.row_codes(), books, residual)
    if rotated:
        right = right @ raw(layer.rotation).numpy().astype(np.float64).T
    answer = layer(tf.range(rows)).numpy()
    least = distortion(table, right)
    return {
        "check": "float16",
        "layout": layout,
        "rows": rows,
        "excess": distortion(table, answer) / least - 1.0,
        "error": float(np.abs(answer - right).max() / np.abs(right).max()),
    }


def mixed_rows(rows: int, seed: int) -> Iterator[dict[str, Any]]:
    """Outputs are the float32 ones, rounded once."""
    table = random_rows("normal", rows, 8, seed)
    made: dict[str, layers.TableLayer] = {
        "table": layers.TableEmbedding(rows, 8),
        "product": layers.ProductQuantizedEmbedding(rows, 8, 2, 16),
        "residual": layers.ResidualQuantizedEmbedding(rows, 8, 2, 16),
        "codes": layers.CodeLookupEmbedding.from_table(table, 2, 16),
        "integers": layers.IntegerEmbedding.from_table(table, 4),
        "low precision": layers.LowPrecisionEmbedding(rows, 8),
        "low rank": layers.LowRankEmbedding(rows, 8, 3),
        "hash": layers.HashedEmbedding(rows, 8, 7, num_hashes=2),
        "quotients": layers.QuotientRemainderEmbedding(rows, 8, 5),
    }
    ids = tf.range(-1, rows + 1)
    for name, layer in made.items():
        answer = layer(ids)
        for policy in ("mixed_float16", "mixed_bfloat16"):
            twin = type(layer).from_config(
                {**layer.get_config(), "dtype": policy}
            )
            narrow = twin(ids)
            twin.set_weights(layer.get_weights())
            narrow = twin(ids)
            right = tf.cast(answer, policy.removeprefix("mixed_"))
            wrong = tf.math.count_nonzero(tf.not_equal(narrow, right))
            yield {
                "check": "mixed", "layer": name, "policy": policy,
                "values": int(tf.size(right)), "differing": int(wrong),
            }  # fmt: skip


# What is refused.


def refused_row() -> dict[str, Any]:
    """Every way in for a number that is not finite."""
    good = random_rows("normal", 300, 8, 0)
    books = ProductQuantizer(2, 4).fit(good)
    lookup = layers.CodeLookupEmbedding
    cases = 0
    for value in (np.nan, np.inf, -np.inf, 1e39):
        bad = good.astype(np.float64)
        bad[250, 3] = value
        bad_books = books.astype(np.float64)
        bad_books[1, 2, 0] = value
        weights = np.ones(300)
        weights[7] = value if value != 1e39 else -1.0
        calls: list[Callable[[], Any]] = [
            lambda bad=bad: ProductQuantizer(2, 4).fit(bad),
            lambda bad=bad: ProductQuantizer(2, 4).encode(bad, books),
            lambda bad=bad: ResidualQuantizer(2, 4).encode(bad, bad[None, :4]),
            lambda b=bad_books: ProductQuantizer(2, 4).encode(good, b),
            lambda w=weights: ProductQuantizer(2, 4).fit(good, w),
            lambda bad=bad: lookup.from_table(bad, 2, 4),
            lambda bad=bad: lookup.from_table(bad, 2, 4, quantizer="rotated"),
            lambda bad=bad: lookup.from_table(bad, 2, 4, quantizer="residual"),
        ]
        for call in calls:
            expect_error(call, "finite")
            cases += 1
    for size in (7e4, 1e30):
        expect_error(
            lambda size=size: lookup.from_table(
                size * good, 2, 4, codebook_dtype="float16"
            ),
            "65504",
        )
        cases += 1
    return {"check": "refused", "cases": cases}


def expect_error(call: Callable[[], Any], words: str) -> None:
    try:
        call()
    except ValueError as error:
        assert words in str(error), error
        return
    raise AssertionError(f"taken, where {words!r} was to be refused")


# The run.


def run(
    rows: int, other_rows: int, ties: int, seed: int
) -> Iterator[dict[str, Any]]:
    """All rows of the result; AssertionError where a bar is missed."""
    yield held(refused_row())
    yield held(ties_row(ties, seed))
    for row in mixed_rows(50, seed):
        yield held(row)
    for kind in KINDS:
        if kind != "magnitudes":  # beside the greatest, the others are one
            yield held(kmeans_row(kind, GROUPS * POINTS_PER_CENTROID, seed))
    for layout in LAYOUTS:
        yield held(float16_row(layout, other_rows, seed))
    for row in encode_rows(rows, other_rows, seed):
        yield held(row)


def held(row: dict[str, Any]) -> dict[str, Any]:
    """The row, if it is within the bars."""
    assert row.get("excess", 0.0) <= BAR, row
    assert row.get("decode_error", 0.0) <= 1e-6, row
    assert not row.get("wrong"), row
    if row["check"] == "mixed":
        assert row["differing"] == 0, row
    return row


def main(_: list[str]) -> None:
    rows = []
    for row in run(FLAGS.rows, FLAGS.other_rows, FLAGS.ties, FLAGS.seed):
        print(row, flush=True)
        rows.append(row)
        write_rows(FLAGS.output, rows)


if __name__ == "__main__":
    flags.DEFINE_integer("rows", 1_000_000, "Random rows of each layout.")
    flags.DEFINE_integer("other_rows", 100_000, "Rows of other magnitudes.")
    flags.DEFINE_integer("ties", 200, "Cases of ties.")
    flags.DEFINE_integer("seed", 0, "Of all that is drawn.")
    flags.DEFINE_string("output", None, "Result file, JSON.", required=True)
    app.run(main)
