"""What a request costs: latency and memory of a server without Python.

    python -m benchmarks.serving --output serving.json

Writes DeepFM and DCNv2 as SavedModels and serves them by the C program of
`benchmarks/serve_c`, which gcc compiles. Variants of the tables:

- `Embedding`: a `tf.keras.layers.Embedding` for each field;
- `full, fused`: full precision, looked up together;
- `compressed`: codes and float16 codebooks for each field;
- `compressed, fused`: those, looked up together;
- `compressed, folded`: and the first layers' products precomputed, for
  requests of few rows;
- `empty`: `Embedding`s of one row, below which no table can bring a request.

All variants of a model are loaded at once, each in a process of its own, and
asked in turn, round by round; medians of the rounds are compared. `ratio` is
the median latency over that of `Embedding`, `ratio_to_fused` over that of
`full, fused`. `resident_bytes` is anonymous memory (RssAnon) after warm-up,
less that of the same network with tables of one row.

Values of rows and codes are random: they do not change what a request costs.
Their layout does. The default of `--layouts` is what `mec_tf.plan` gives at 50x
for Gaussian rows of 2 GB in all under Zipf counts: residual codes, half of the
tables 2 x 256, the others 4 x 256. The bar's run is
`--table_bytes 2000000000`; it needs 8 GB of memory and 5 GB of disk.
"""

import contextlib
import dataclasses
import gc
import pathlib
import statistics
import tempfile
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
from absl import app, flags

import mec_tf
from benchmarks.environment import write_rows
from benchmarks.lookup import draw_ids
from benchmarks.serve_c import Server, build, write_requests
from mec_tf.layers import (
    CodeLookupEmbedding,
    FusedFieldEmbeddings,
    FusedTableEmbedding,
)
from mec_tf.layers.variables import raw

FLAGS = flags.FLAGS
MODELS: dict[str, type[mec_tf.models.RankingModel]] = {
    "deepfm": mec_tf.models.DeepFM,
    "dcnv2": mec_tf.models.DCNv2,
}
REFERENCE, FUSED = "Embedding", "full, fused"
EMPTY = "empty"


@dataclasses.dataclass(frozen=True)
class Setup:
    """What is served.

    Args:
        fields: id features of the models.
        table_bytes: of all tables in float32.
        dim: width of a vector, without first-order weights.
        hidden: widths of the tower.
        layouts: "quantizer:MxK" of the compressed tables, in turn.
        ids: "zipf" or "uniform", of the requests.
        batches: rows of a request.
        threads: that send requests.
        rounds, seconds: measurements of each size, and their length.
    """

    fields: int = 26
    table_bytes: int = 100_000_000
    dim: int = 40
    hidden: tuple[int, ...] = (300, 300, 300)
    layouts: tuple[str, ...] = ("residual:2x256", "residual:4x256")
    ids: str = "zipf"
    batches: tuple[int, ...] = (1, 64, 512)
    threads: int = 1
    rounds: int = 5
    seconds: float = 0.4

    @property
    def names(self) -> list[str]:
        return [f"field_{place}" for place in range(self.fields)]

    def rows(self, model: str) -> int:
        """Rows of each table."""
        width = self.dim + MODELS[model].additive_dim
        return max(1, self.table_bytes // (4 * width * self.fields))


def define_flags() -> None:
    plain = Setup()
    flags.DEFINE_list("models", list(MODELS), "Networks to serve.")
    flags.DEFINE_integer("table_bytes", plain.table_bytes, "All tables.")
    flags.DEFINE_integer("fields", plain.fields, "Id features.")
    flags.DEFINE_integer("dim", plain.dim, "Width of a vector.")
    flags.DEFINE_list(
        "layouts", list(plain.layouts), "quantizer:MxK of tables, in turn."
    )
    flags.DEFINE_enum("ids", plain.ids, ["zipf", "uniform"], "Of requests.")
    flags.DEFINE_list(
        "batch", [str(size) for size in plain.batches], "Rows of a request."
    )
    flags.DEFINE_integer("threads", plain.threads, "That send requests.")
    flags.DEFINE_integer("rounds", plain.rounds, "Measurements of each size.")
    flags.DEFINE_float("seconds", plain.seconds, "Length of each.")
    flags.DEFINE_string("output", None, "Result file, JSON.", required=True)


def codes(layout: str, rows: int, dim: int, additive: int, seed: int):
    """A table of random codes."""
    quantizer, shape, *dtype = layout.split(":")
    num_codes, size = (int(part) for part in shape.split("x"))
    if quantizer == "residual":
        entry = additive = dim + additive
    elif quantizer == "product":
        entry = dim // num_codes + additive
    else:
        raise ValueError(
            '`layouts` must be "product:MxK" or "residual:MxK", and ":float32" '
            "where codebooks are. "
            f"Received: {layout!r}"
        )
    size = min(size, rows)
    rng = np.random.default_rng(seed)
    settings = mec_tf.compression.TableSettings(num_codes, size)
    return CodeLookupEmbedding.from_codes(
        rng.integers(0, size, (rows, num_codes), np.uint16),
        rng.normal(0, 0.01, (num_codes, size, entry)),
        additive_dim=additive,
        codebook_dtype=dtype[0] if dtype else "float16",
        bit_packed=settings.bit_packed,
    )


def fused_full(names: list[str], rows: int, width: int, additive: int):
    """Full-precision tables in one variable, filled in place."""
    tables = [{"name": name, "input_dim": rows} for name in names]
    group = FusedTableEmbedding(tables, width, additive_dim=additive)
    fields = {name: name for name in names}
    fused = FusedFieldEmbeddings(fields, {"rows": group})
    fused.build()
    for start in range(0, len(names) * rows, rows):
        values = tf.random.uniform((rows, width), -0.05, 0.05)
        # In place; assigning to a slice copies the variable.
        raw(group.embeddings).scatter_update(
            tf.IndexedSlices(values, tf.range(start, start + rows))
        )
    return fused


def make_model(name: str, variant: str, setup: Setup) -> tf.keras.Model:
    rows = 1 if variant == EMPTY else setup.rows(name)
    additive = MODELS[name].additive_dim
    seeds = iter(range(setup.fields))

    def plain(_: str, rows: int, width: int, additive: int) -> Any:
        return tf.keras.layers.Embedding(rows, width)

    def compressed(_: str, rows: int, width: int, additive: int) -> Any:
        seed = next(seeds)
        layout = setup.layouts[seed % len(setup.layouts)]
        return codes(layout, rows, width - additive, additive, seed)

    tables: Any = plain if variant in (REFERENCE, EMPTY) else compressed
    if variant == FUSED:
        width = setup.dim + additive
        tables = fused_full(setup.names, rows, width, additive)
    tf.keras.utils.set_random_seed(0)
    model = MODELS[name](
        dict.fromkeys(setup.names, rows),
        embedding_dim=setup.dim,
        hidden_units=setup.hidden,
        embedding_layer=tables,
    )
    model.build(None)
    return model


class Served(tf.Module):
    """A model's variables and its signature "ids".

    What `mec_tf.export.save` writes for full precision, without its
    verification, which loads the tables again.
    """

    def __init__(self, model: tf.keras.Model, names: list[str]):
        super().__init__()
        self.weights = [raw(variable) for variable in model.weights]
        specs = {
            name: tf.TensorSpec([None], tf.int32, name=name) for name in names
        }

        def serve(**ids: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"logits": model(ids, training=False)}

        self.signature = tf.function(serve).get_concrete_function(**specs)


def write_model(
    folder: pathlib.Path, name: str, variant: str, setup: Setup
) -> None:
    """Writes one SavedModel; holds its tables once."""
    model = make_model(name, variant, setup)
    if variant.startswith("compressed"):
        fuse, fold = variant != "compressed", variant.endswith("folded")
        mec_tf.export.save(model, folder, fuse=fuse, fold=fold)
    else:
        served = Served(model, setup.names)
        tf.saved_model.save(served, folder, {"ids": served.signature})


COMPRESSED = ("compressed", "compressed, fused", "compressed, folded")
VARIANTS = (REFERENCE, FUSED, *COMPRESSED, EMPTY)


def measure(
    name: str, setup: Setup, program: pathlib.Path, folder: pathlib.Path
) -> list[dict[str, Any]]:
    """Rows of the result, of one network."""
    rng = np.random.default_rng(0)
    shape = (setup.fields, 64 * max(setup.batches))
    asked = draw_ids(setup.ids, setup.rows(name), shape, rng)
    found: dict[str, dict[int, list[dict]]] = {}
    with contextlib.ExitStack() as running:
        servers = {}
        # The largest tensor first: the memory it leaves serves the others.
        for variant in (FUSED, EMPTY, REFERENCE, *COMPRESSED):
            path = folder / f"{name} {variant}"
            write_model(path, name, variant, setup)
            # Or the next tables would be made beside these.
            tf.keras.backend.clear_session()
            gc.collect()
            ids = np.zeros_like(asked) if variant == EMPTY else asked
            requests = write_requests(
                folder / f"{name} {variant} requests",
                path,
                dict(zip(setup.names, ids, strict=True)),
                "ids",
            )
            server = Server(
                program,
                path,
                requests,
                threads=setup.threads,
                seconds=setup.seconds,
            )
            servers[variant] = running.enter_context(server)
            found[variant] = {size: [] for size in setup.batches}
        for _ in range(setup.rounds):
            for size in setup.batches:
                for variant, server in servers.items():
                    found[variant][size].append(server.measure(size))
    return results(name, setup, found)


def results(
    name: str, setup: Setup, found: dict[str, dict[int, list[dict]]]
) -> list[dict[str, Any]]:
    """Medians over the rounds, and their ratios."""

    def median(variant: str, size: int, key: str) -> float:
        return statistics.median(row[key] for row in found[variant][size])

    rows = []
    for size in setup.batches:
        for variant in VARIANTS:
            p50 = median(variant, size, "p50_us")
            resident = median(variant, size, "resident_bytes")
            empty = median(EMPTY, size, "resident_bytes")
            rows.append(
                {
                    "model": name,
                    "variant": variant,
                    "batch": size,
                    "p50_us": round(p50, 1),
                    "p99_us": round(median(variant, size, "p99_us"), 1),
                    "per_second": round(median(variant, size, "per_second")),
                    "resident_bytes": int(resident - empty),
                    "ratio": round(p50 / median(REFERENCE, size, "p50_us"), 3),
                    "ratio_to_fused": round(
                        p50 / median(FUSED, size, "p50_us"), 3
                    ),
                    "fields": setup.fields,
                    "rows": setup.rows(name),
                    "dim": setup.dim,
                    "ids": setup.ids,
                    "layouts": list(setup.layouts),
                    "threads": setup.threads,
                }
            )
    return rows


def report(row: dict[str, Any], say: Callable[[str], None] = print) -> None:
    say(
        f"{row['model']:<7}{row['batch']:>4} rows  {row['variant']:<18}"
        f"p50 {row['p50_us']:8.1f} us, p99 {row['p99_us']:8.1f} us, "
        f"{row['resident_bytes'] / 1e6:8.1f} MB, {row['ratio']:.2f} of "
        f"Embedding, {row['ratio_to_fused']:.2f} of full, fused"
    )


def main(argv: list[str]) -> None:
    del argv
    setup = Setup(
        fields=FLAGS.fields,
        table_bytes=FLAGS.table_bytes,
        dim=FLAGS.dim,
        layouts=tuple(FLAGS.layouts),
        ids=FLAGS.ids,
        batches=tuple(int(size) for size in FLAGS.batch),
        threads=FLAGS.threads,
        rounds=FLAGS.rounds,
        seconds=FLAGS.seconds,
    )
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as program_folder:
        program = build(program_folder)
        for name in FLAGS.models:
            # Of one network at a time: the tables fill a disk.
            with tempfile.TemporaryDirectory() as folder:
                fresh = measure(name, setup, program, pathlib.Path(folder))
            for row in fresh:
                report(row)
            rows += fresh
            write_rows(FLAGS.output, rows)


if __name__ == "__main__":
    define_flags()
    app.run(main)
