"""How each method of the quality benchmark comes to its row."""

import dataclasses
import gc
import pathlib
import shutil
import time
from typing import Any

import tensorflow as tf

import mec_tf
from benchmarks import low_precision
from benchmarks.runner import Cell, Runner, Trained, since
from mec_tf import compression, pipeline
from mec_tf.training import FitSettings, evaluate

# What stage 1 leaves for stage 2.
CODES, MODEL = "codes.safetensors", "model.keras"


def full(runner: Runner, cell: Cell) -> dict[str, Any]:
    """Full precision, tuned."""
    return runner.scores(cell, runner.full(cell))


def mec(runner: Runner, cell: Cell) -> dict[str, Any]:
    """MEC's stage 1: the full model trained on with quantized tables."""
    return _compressed_scores(runner, cell, _compressed(runner, cell))


def other(runner: Runner, cell: Cell) -> dict[str, Any]:
    """Another method of `compress`, on the tuned full-precision model."""
    policy = dataclasses.replace(POLICIES[cell.method](cell), seed=cell.seed)
    distill = cell.method == "mec_distilled"
    result = runner.compress(cell, policy, distill)
    return _compressed_scores(runner, cell, result)


def _compressed_scores(
    runner: Runner, cell: Cell, result: compression.CompressionResult
) -> dict[str, Any]:
    log = runner.log(cell.dataset, cell.backbone)
    trained = Trained(
        result.model,
        evaluate(result.model, log, "validation").auc,
        runner.full(cell).settings,
        result.report.seconds,
    )
    return runner.scores(cell, trained)


def hashing(runner: Runner, cell: Cell) -> dict[str, Any]:
    """A baseline at the same bytes, tuned as the full model is."""
    settings = runner.known_settings(cell)
    tuned_full = runner.full(cell)
    job = runner.job(cell, settings)
    started = time.monotonic()
    model, valid, tuned = pipeline.train_hashed(
        job,
        runner.log(cell.dataset, cell.backbone),
        settings or tuned_full.settings,
        runner.folder(cell),
        int(run(runner, cell.full)["bytes"] / cell.target_ratio),
        method=cell.method,
        verbose=0,
    )
    trained = Trained(model, valid.auc, tuned, since(started))
    return runner.scores(cell, trained)


def stage2(runner: Runner, cell: Cell) -> dict[str, Any]:
    """MEC's stage 2: a fresh model on codes that another one learned.

    The auxiliary model learns them in its own `mec` row of the same data set,
    ratio and seed. "stage2_tuned" lets the codebooks learn on;
    "stage2_distilled" learns what the compressed auxiliary model answers.
    """
    auxiliary = _auxiliary(runner, cell)
    codes = mec_tf.EmbeddingCodes.load(auxiliary / CODES)
    settings = full_settings(runner, cell)
    teacher = None
    if cell.method == "stage2_distilled":
        teacher = tf.keras.models.load_model(auxiliary / MODEL)
    started = time.monotonic()
    model, valid = pipeline.train_target(
        runner.job(cell, settings),
        runner.log(cell.dataset, cell.backbone),
        codes,
        settings,
        runner.folder(cell),
        trainable_codebooks=cell.method == "stage2_tuned",
        teacher=teacher,
        verbose=0,
    )
    trained = Trained(model, valid.auc, settings, since(started))
    return runner.scores(cell, trained)


def _planned(method: str, **policy: Any) -> Any:
    return lambda cell: compression.CompressionPolicy(
        ratio=cell.target_ratio, method=method, **policy
    )


# Methods whose size is their own.
FIXED = {
    "int8": lambda cell: compression.CompressionPolicy(method="int8"),
    "int4": lambda cell: compression.CompressionPolicy(method="int4"),
    **dict.fromkeys(low_precision.ARMS, low_precision.policy),
    "low_rank_dense": lambda cell: compression.CompressionPolicy(
        tables={"*": compression.TableSettings(0)}, dense=LOW_RANK_DENSE
    ),
}  # fmt: skip
# The rank that the paper has for its towers of 400 units.
LOW_RANK_DENSE = compression.DenseSettings(ranks=64)
# The first layer of each tower too, which the paper leaves alone.
LOW_RANK_WHOLE = compression.DenseSettings(ranks=64, keep_first=False)
POLICIES = {
    **FIXED,
    "kmeans": _planned("kmeans"),
    "prune": _planned("prune"),
    "low_rank": _planned("low_rank"),
    "low_rank_all": _planned("low_rank", dense=LOW_RANK_DENSE),
    "low_rank_whole": _planned("low_rank", dense=LOW_RANK_WHOLE),
    "mec_dense": _planned("mec", dense=LOW_RANK_DENSE),
    "mec_distilled": _planned("mec"),  # learns the full model's answers
}

METHODS = {
    "full": full,
    "mec": mec,
    "hash": hashing,
    "quotient_remainder": hashing,
    "stage2": stage2,
    "stage2_tuned": stage2,
    "stage2_distilled": stage2,
    **dict.fromkeys(POLICIES, other),
    **dict.fromkeys(low_precision.SCRATCH, low_precision.measure),
}


def cells(
    dataset: str,
    backbone: str,
    methods: list[str],
    ratios: list[float],
    seed: int,
    auxiliary: str,
    embedding_dim: int = 0,
) -> list[Cell]:
    """The cells of a seed; full precision first, all is paired with it."""
    made = [Cell(dataset, backbone, "full", seed, embedding_dim=embedding_dim)]
    for method in methods:
        source = auxiliary if method.startswith("stage2") else ""
        if method == "full":
            continue
        own_size = method in FIXED or method in low_precision.SCRATCH
        for ratio in [1.0] if own_size else ratios:
            cell = dataclasses.replace(
                made[0], method=method, target_ratio=ratio, auxiliary=source
            )
            made.append(cell)
    return made


def run(runner: Runner, cell: Cell) -> dict[str, Any]:
    """The row of a cell; leaves only what later cells may need."""
    row = runner.run(cell, METHODS[cell.method])
    if cell.method == "full":
        runner.tidy(cell, FitSettings(**row["settings"]))
    else:
        shutil.rmtree(runner.folder(cell), ignore_errors=True)
    gc.collect()  # models are in cycles with what Keras traced of them
    return row


def full_settings(runner: Runner, cell: Cell) -> FitSettings:
    """Settings of the tuned full-precision model of a cell."""
    row = run(runner, cell.full)
    return FitSettings(**row["settings"])


def _compressed(runner: Runner, cell: Cell) -> Any:
    """Compresses the full model; keeps it, and its codes, for stage 2."""
    policy = compression.CompressionPolicy(
        ratio=cell.target_ratio, seed=cell.seed
    )
    result = runner.compress(cell, policy)
    folder = _auxiliary_folder(runner, cell)
    folder.mkdir(parents=True, exist_ok=True)
    result.codes.save(folder / CODES)
    result.model.save(folder / MODEL)
    return result


def _auxiliary(runner: Runner, cell: Cell) -> pathlib.Path:
    """Where the compressed model is whose codes a stage 2 is on."""
    source = dataclasses.replace(
        cell, backbone=cell.auxiliary, method="mec", auxiliary=""
    )
    run(runner, source.full)
    run(runner, source)
    folder = _auxiliary_folder(runner, source)
    if not (folder / MODEL).exists():  # the row is of another work folder
        _compressed(runner, source)
    return folder


def _auxiliary_folder(runner: Runner, cell: Cell) -> pathlib.Path:
    return runner.seed_folder(cell) / f"codes-{cell.target_ratio:g}"
