"""How many rows a second are encoded, beside faiss.

    python -m benchmarks.encode --output encode.json

One table, one set of codebooks, the same threads:

- `faiss`: `ProductQuantizer.compute_codes` of `faiss-cpu`;
- `encode`: `mec_tf.quantizers.ProductQuantizer.encode`;
- `freeze`: `ProductQuantizedEmbedding.freeze`, which encodes its rows and
  makes the `CodeLookupEmbedding`.

They take turns, round by round; `ratio` is median rows per second over those of
`faiss`. `differing` is the share of codes that are not faiss's: where two codes
are equally near but for rounding, either may be found.
"""

import os
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
from absl import app, flags

from benchmarks.environment import write_rows
from mec_tf.layers import ProductQuantizedEmbedding
from mec_tf.layers.variables import raw
from mec_tf.quantizers import ProductQuantizer

FLAGS = flags.FLAGS
REFERENCE = "faiss"

Encode = Callable[[], np.ndarray]


def define_flags() -> None:
    cores = len(os.sched_getaffinity(0))
    flags.DEFINE_list("rows", ["100000", "400000"], "Rows of the table.")
    flags.DEFINE_integer("dim", 40, "Width of a row.")
    flags.DEFINE_list("codes", ["2", "4", "8"], "Codes a row.")
    flags.DEFINE_integer("codebook_size", 256, "A power of two.")
    flags.DEFINE_integer("threads", cores, "Of both.")
    flags.DEFINE_integer("rounds", 5, "Timings of each.")
    flags.DEFINE_string("output", None, "Result file, JSON.", required=True)


def load_faiss() -> Any:
    """The module, or a clear end of the program."""
    try:
        import faiss
    except ImportError as error:
        raise SystemExit(
            "benchmarks.encode compares with faiss: pip install faiss-cpu"
        ) from error
    return faiss


def faiss_encoder(table: np.ndarray, books: np.ndarray, threads: int) -> Encode:
    faiss = load_faiss()
    faiss.omp_set_num_threads(threads)
    num_codes, size, _ = books.shape
    bits = (size - 1).bit_length()
    if size != 2**bits or bits not in (8, 16):
        # faiss packs other widths to the bit.
        raise ValueError(
            "`codebook_size` must be 256 or 65536. "
            f"Received: codebook_size={size}"
        )
    quantizer = faiss.ProductQuantizer(table.shape[1], num_codes, bits)
    faiss.copy_array_to_vector(books.ravel(), quantizer.centroids)

    def encode() -> np.ndarray:
        found = quantizer.compute_codes(table)
        return found.view(np.uint8 if bits == 8 else np.uint16)

    return encode


def encoders(
    table: np.ndarray, books: np.ndarray, threads: int
) -> dict[str, Encode]:
    num_codes, size, _ = books.shape
    quantizer = ProductQuantizer(num_codes, size)
    layer = ProductQuantizedEmbedding(*table.shape, num_codes, size)
    layer.build((None,))
    raw(layer.embeddings).assign(table)
    raw(layer.codebooks).assign(books)
    return {
        REFERENCE: faiss_encoder(table, books, threads),
        "encode": lambda: quantizer.encode(table, books),
        "freeze": lambda: layer.freeze().row_codes(),
    }


def measure(
    rows: int, dim: int, num_codes: int, size: int, threads: int, rounds: int
) -> list[dict[str, Any]]:
    """Rows of the result, of one table."""
    rng = np.random.default_rng(0)
    table = rng.normal(size=(rows, dim)).astype(np.float32)
    shape = (num_codes, size, dim // num_codes)
    books = rng.normal(size=shape).astype(np.float32)
    encode = encoders(table, books, threads)
    # Also warms them up.
    codes = {name: run() for name, run in encode.items()}
    times: dict[str, list[float]] = {name: [] for name in encode}
    for _ in range(rounds):
        for name, run in encode.items():
            started = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - started)
    medians = {name: statistics.median(t) for name, t in times.items()}
    return [
        {
            "rows": rows,
            "dim": dim,
            "num_codes": num_codes,
            "codebook_size": size,
            "threads": threads,
            "variant": name,
            "per_second": round(rows / seconds),
            "ratio": round(medians[REFERENCE] / seconds, 3),
            "differing": float((codes[name] != codes[REFERENCE]).mean()),
        }
        for name, seconds in medians.items()
    ]


def main(argv: list[str]) -> None:
    del argv
    load_faiss()
    tf.config.threading.set_intra_op_parallelism_threads(FLAGS.threads)
    found: list[dict[str, Any]] = []
    for rows in FLAGS.rows:
        for num_codes in FLAGS.codes:
            fresh = measure(
                int(rows),
                FLAGS.dim,
                int(num_codes),
                FLAGS.codebook_size,
                FLAGS.threads,
                FLAGS.rounds,
            )
            for row in fresh:
                print(
                    f"{row['rows']:>10,} rows, {num_codes} x "
                    f"{row['codebook_size']}: {row['variant']:<7}"
                    f"{row['per_second'] / 1e3:9.0f} k rows/s"
                    f"{row['ratio']:7.2f}",
                    flush=True,
                )
            found += fresh
            write_rows(FLAGS.output, found)


if __name__ == "__main__":
    define_flags()
    app.run(main)
