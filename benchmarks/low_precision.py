"""Trains models whose tables are integers from the first step.

As a full-precision model is trained: from the same initial values, on the same
batches, for as long, chosen by validation AUC. Tuned with the first seed is the
learning rate of the rows; the rest is the full model's.
"""

import functools
from typing import Any

import tensorflow as tf

from benchmarks.runner import Cell, Runner, Trained
from mec_tf import compression
from mec_tf.compression.methods.low_precision import trained_step
from mec_tf.compression.rebuild import rebuild
from mec_tf.compression.tables import table_layers
from mec_tf.layers import LowPrecisionEmbedding
from mec_tf.training import FitSettings, fit, use_alpt
from mec_tf.training.full_precision import compile_ranking

# Rates of the rows that are tried, by row optimizer.
ROW_RATES = {
    "adagrad": (0.003, 0.01, 0.03),
    "adam": (0.001, 0.002),
}


def arms() -> dict[str, dict[str, Any]]:
    """What `LowPrecisionEmbedding` is given, by name of the method."""
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


def measure(runner: Runner, cell: Cell) -> dict[str, Any]:
    """The row of a method of `ARMS`, tuned with the first seed."""
    full = runner.full(cell)
    steps = {
        table.path: trained_step(table.values(), ARMS[cell.method]["bits"])
        for table in compression.find_tables(full.model)
    }
    optimizer = ARMS[cell.method].get("row_optimizer", "adagrad")
    known = runner.known(cell)
    rates = ROW_RATES[optimizer]
    if known is not None:
        rates = (known["row_learning_rate"],)
    best = None
    for rate in rates:
        trained = _train(runner, cell, full.settings, steps, rate)
        if best is None or trained.validation_auc > best[1].validation_auc:
            best = rate, trained
    assert best is not None
    rate, trained = best
    return {
        **runner.scores(cell, trained),
        "row_learning_rate": rate,
        "row_optimizer": optimizer,
    }


def _train(
    runner: Runner,
    cell: Cell,
    settings: FitSettings,
    steps: dict[str, float],
    rate: float,
) -> Trained:
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
                **ARMS[cell.method],
            )
            for path, table in tables.items()
        }
        training = rebuild(model, _made(layers), batch)
        for path, layer in layers.items():
            layer.warm_start(tables[path].values())
        if ARMS[cell.method]["learned_steps"]:
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
    model = rebuild(training, _made(frozen), batch)
    return Trained(model, valid.auc, settings)


def _made(layers: dict[str, Any]) -> dict[str, Any]:
    return {
        path: functools.partial(lambda layer: layer, layer)
        for path, layer in layers.items()
    }
