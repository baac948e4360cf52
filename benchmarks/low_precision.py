"""Tables that are integers while they train: arms of the quality benchmark.

`alpt8` and the like compress the trained full-precision model, as MEC does.
`alpt8_scratch` has integers from the first step and is trained as a
full-precision model is: from the same initial values, on the same batches, for
as long, chosen by validation AUC; its step sizes start at those that fit the
trained model's tables. Those of `alpt8_paper` start at 0.01 instead, as in the
paper: they know of no trained model. The learning rate of the rows is tuned
with the first arm and seed of a start and row optimizer that run, and kept for
all others; the rest is the full model's.
"""

import functools
import time
from typing import Any

import tensorflow as tf

from benchmarks.runner import Cell, Runner, Trained, since
from mec_tf import compression
from mec_tf.compression.methods.low_precision import trained_step
from mec_tf.compression.rebuild import rebuild
from mec_tf.compression.tables import table_layers
from mec_tf.layers import LowPrecisionEmbedding
from mec_tf.training import FitSettings, fit, use_alpt
from mec_tf.training.full_precision import compile_ranking

# Rates of the rows that are tried, by row optimizer.
ROW_RATES = {
    "adagrad": (0.0003, 0.001, 0.003, 0.01, 0.03),
    "adam": (0.001, 0.002),
}


def arms() -> dict[str, dict[str, Any]]:
    """What `LowPrecisionEmbedding` is given, by name of the arm."""
    found = {}
    for bits in (8, 4, 2):
        found[f"alpt{bits}"] = {"bits": bits, "learned_steps": True}
        found[f"lpt{bits}"] = {"bits": bits, "learned_steps": False}
        for name in (f"alpt{bits}", f"lpt{bits}"):
            found[f"{name}_nearest"] = {
                **found[name],
                "rounding": "deterministic",
            }
    found["alpt8_adam"] = {**found["alpt8"], "row_optimizer": "adam"}
    return found


ARMS = arms()
PAPER = {f"{name}_paper": settings for name, settings in ARMS.items()}
SCRATCH = {
    **{f"{name}_scratch": settings for name, settings in ARMS.items()},
    **PAPER,
}
# Where the paper's step sizes start.
PAPER_STEP = 0.01


def policy(cell: Cell) -> compression.CompressionPolicy:
    """The policy of an arm that compresses the trained model."""
    settings = dict(ARMS[cell.method])
    method = "alpt" if settings.pop("learned_steps") else "lpt"
    return compression.CompressionPolicy(
        method=method, tables={"*": compression.IntegerSettings(**settings)}
    )


def measure(runner: Runner, cell: Cell) -> dict[str, Any]:
    """The row of a method of `SCRATCH`."""
    full = runner.full(cell)
    bits = SCRATCH[cell.method]["bits"]
    steps = {
        table.path: PAPER_STEP
        if cell.method in PAPER
        else trained_step(table.values(), bits)
        for table in compression.find_tables(full.model)
    }
    optimizer = SCRATCH[cell.method].get("row_optimizer", "adagrad")
    rates = _known_rates(runner, cell, optimizer) or ROW_RATES[optimizer]
    best = None
    started = time.monotonic()
    for rate in rates:
        model, auc = _train(runner, cell, full.settings, steps, rate)
        if best is None or auc > best[1]:
            best = model, auc, rate
    assert best is not None
    model, auc, rate = best
    trained = Trained(model, auc, full.settings, since(started))
    return {
        **runner.scores(cell, trained),
        "row_learning_rate": rate,
        "row_optimizer": optimizer,
    }


def _known_rates(
    runner: Runner, cell: Cell, optimizer: str
) -> tuple[float, ...]:
    """The rate tuned for such a start and optimizer on this data, if any."""
    for row in runner.rows:
        if (
            row.get("row_optimizer") == optimizer
            and (row["method"] in PAPER) == (cell.method in PAPER)
            and row["dataset"] == cell.dataset
            and row["backbone"] == cell.backbone
            and row.get("embedding_dim", 0) == cell.embedding_dim
        ):
            return (row["row_learning_rate"],)
    return ()


def _train(
    runner: Runner,
    cell: Cell,
    settings: FitSettings,
    steps: dict[str, float],
    rate: float,
) -> tuple[tf.keras.Model, float]:
    """The frozen model of one rate, and its validation AUC."""
    log = runner.log(cell.dataset, cell.backbone)
    job = runner.job(cell, settings)
    batch = next(iter(log.dataset("train", 2)))

    def make(settings: FitSettings) -> tf.keras.Model:
        # In the order of `train_full`, for the same initial values.
        model = job.make_model(log, settings)
        compile_ranking(model, settings)
        model(batch[0])
        tables = {t.path: t for t in compression.find_tables(model)}
        layers = {
            path: LowPrecisionEmbedding(
                table.rows,
                table.dim,
                additive_dim=table.additive_dim,
                initial_step=steps[path],
                row_learning_rate=rate,
                seed=cell.seed,
                name=table.layer.name,
                **SCRATCH[cell.method],
            )
            for path, table in tables.items()
        }
        training = rebuild(model, _made(layers), batch)
        for path, layer in layers.items():
            layer.warm_start(tables[path].values())
        if SCRATCH[cell.method]["learned_steps"]:
            use_alpt(training)
        return training

    training, valid = fit(
        make,
        log,
        settings,
        runner.folder(cell) / f"rate{rate:g}",
        seed=cell.seed,
        verbose=0,
    )
    frozen = {
        path: layer.freeze() for path, layer in table_layers(training).items()
    }
    return rebuild(training, _made(frozen), batch), valid.auc


def _made(layers: dict[str, Any]) -> dict[str, Any]:
    return {
        path: functools.partial(lambda layer: layer, layer)
        for path, layer in layers.items()
    }
