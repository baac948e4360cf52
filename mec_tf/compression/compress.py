"""Compressing a whole model."""

import dataclasses
import functools
import os
import pathlib
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from mec_tf.compression import counting
from mec_tf.compression.batches import as_batches, first_not_finite
from mec_tf.compression.commitment import matched_commitment, set_commitment
from mec_tf.compression.dense_report import DenseReport
from mec_tf.compression.distill import Answers
from mec_tf.compression.embedding_codes import EmbeddingCodes
from mec_tf.compression.keras_versions import check_keras
from mec_tf.compression.low_rank import low_rank_dense
from mec_tf.compression.methods.method import policy_of
from mec_tf.compression.objective import (
    check_compiled,
    compile_like,
    optimizer_like,
)
from mec_tf.compression.plan import CompressionPlan, describe, make_plan
from mec_tf.compression.policy import CompressionPolicy
from mec_tf.compression.popularity import count_ids
from mec_tf.compression.rebuild import check_copy, rebuild
from mec_tf.compression.report import CompressionReport, TableReport
from mec_tf.compression.row_distortion import row_distortion
from mec_tf.compression.selection import KeepBest
from mec_tf.compression.start_training import start_training
from mec_tf.compression.strategy_scope import strategy_scope
from mec_tf.compression.tables import Table, find_tables, walk
from mec_tf.compression.train_tables import mark_train_steps, train_tables
from mec_tf.layers.trained_rows import check_table
from mec_tf.training.training_diverged import TrainingDiverged

# Of the model's learning rate: its answers are near from the start.
DISTILL_RATE = 0.1


@dataclasses.dataclass(frozen=True)
class CompressionResult:
    """What `compress` returns.

    Args:
        model: the compressed model, built and compiled.
        report: what was done to each table.
        plan: what was planned.
        history: Keras logs of the training, a list a name; since it was
            last started, where it went on from a `folder`.
        codes: its tables, for use in other models.
    """

    model: tf.keras.Model
    report: CompressionReport
    plan: CompressionPlan
    history: Mapping[str, list[float]]
    codes: EmbeddingCodes


def plan(
    model: tf.keras.Model,
    train: Any,
    *,
    policy: CompressionPolicy | None = None,
    counts: Mapping[str, np.ndarray] | None = None,
    model_fn: Callable[[], tf.keras.Model] | None = None,
) -> CompressionPlan:
    """The plan that `compress` would follow; nothing is trained.

    Args and errors: as of `compress`.
    """
    tables, _, counts = _survey(model, train, counts, model_fn)
    return make_plan(tables, policy or CompressionPolicy(), counts)


def compress(
    model: tf.keras.Model,
    train: Any,
    *,
    validation_data: Any = None,
    policy: CompressionPolicy | None = None,
    plan: CompressionPlan | None = None,
    epochs: int = 8,
    steps_per_epoch: int | None = None,
    patience: int = 3,
    monitor: str | Callable[[tf.keras.Model], float] = "val_loss",
    optimizer: tf.keras.optimizers.Optimizer | None = None,
    callbacks: Iterable[tf.keras.callbacks.Callback] = (),
    verbose: str | int = "auto",
    counts: Mapping[str, np.ndarray] | None = None,
    model_fn: Callable[[], tf.keras.Model] | None = None,
    folder: str | os.PathLike | None = None,
    strategy: tf.distribute.Strategy | None = None,
    distill: bool = False,
) -> CompressionResult:
    """Shrinks the embedding tables of a trained Keras model.

    Finds every embedding table, plans codes for the byte budget, trains on
    with quantized tables (the model's own loss; product quantization in the
    forward pass, straight-through gradients), and freezes them to packed
    codes. The best state on `validation_data` is kept, the one before any
    training included. The caller's model is unchanged.

    Args:
        model: a built, compiled and trained model: functional, Sequential
            or subclassed.
        train: `tf.data.Dataset` of batches `(x, y)` or `(x, y, weights)`, as
            `fit` takes it; or a tuple of arrays.
        validation_data: the same, to choose the best state. Without it the
            state after the last epoch is kept.
        policy: what to reach. Default: `CompressionPolicy(ratio=50)`.
        plan: what `mec_tf.plan` gave for the same model, data and policy, to
            be followed without measuring again. Default: planned here.
        epochs: at most this many passes. 0 only quantizes.
        steps_per_epoch: batches an epoch, for choosing within a pass.
            Default: all.
        patience: epochs without a better state before training stops.
        monitor: what "better" means: a name in the logs of `evaluate` after
            "val_" (losses and errors are minimised, others maximised), or a
            function of the model, maximised.
        optimizer: default: a fresh one like the model's, `LazyAdam` for
            Adam.
        callbacks: Keras callbacks for the training.
        verbose: as in `fit`.
        counts: training counts `[rows]` by table path. Default: counted by
            one pass over `train`.
        model_fn: returns a new, unbuilt model of the same structure, where
            the model cannot be copied from its configuration.
        folder: where the state of the training lives. A compression that was
            killed goes on from there, after its last epoch, if it is started
            with the same arguments again: `train` must then give the same
            batches in the same order, the next shuffle after each pass (a
            `shuffle` with a seed does), and `validation_data` always the
            same. Default None: nothing is written.
        strategy: a `MirroredStrategy` or `MultiWorkerMirroredStrategy` to
            train under; batches of `train` are then shared out among its
            replicas, and the result is an ordinary model again. Every worker
            process makes the same call, with the same seeds and batches, and
            gets the same result; several processes need Keras 2. Default
            None: one replica.
        distill: whether what `model` answers takes the place of the labels,
            for training and, unless `monitor` is a function, for choosing the
            best state: by default the one nearest to the answers. It keeps
            what the model knows, where labels would only be learned by heart;
            labels can teach more. Metrics compare with answers, too; losses
            that the model adds by itself, L2 say, stay. Without `optimizer`
            the learning rate is a tenth of the model's, where that is a
            number and tables do not start anew. Default False.

    Raises:
        ValueError: if the model is not built or compiled, has no table, has
            NaN in one, cannot be copied, the budget cannot be met, the
            plan is of another model, the method or `folder` does not go
            with `strategy`, or `distill` with `monitor`, loss or labels.
        TrainingDiverged: if the loss became NaN, infinite or exploded, or
            codes collapsed (see `mec_tf.training.StopOnDivergence`). Its
            `result` is the `CompressionResult` of the best state before.
        ArtifactError: if `folder` holds a damaged state, or that of another
            compression.
        OSError: if the state cannot be written.
        TypeError: if the model, or a layer in it, is of the Keras that
            `tf.keras` is not, or `strategy` is none.

    Reference:
        "MEC" (arXiv 2502.15355).
    """
    started = time.monotonic()
    policy = policy or CompressionPolicy()
    check_keras(model)
    check_compiled(model)
    train = as_batches(train)
    valid = None if validation_data is None else as_batches(validation_data)
    answers = Answers(model, monitor) if distill else None
    tables, first, counts = _survey(model, train, counts, model_fn)
    label: Callable[[tf.data.Dataset], tf.data.Dataset] = as_batches
    if answers is not None:
        label = answers.label
        answers.check("train", train)
        if valid is not None and not callable(monitor):
            answers.check("validation_data", valid)
            valid = label(valid)
        if optimizer is None and not policy.anew:
            optimizer = optimizer_like(model, DISTILL_RATE)
    dense: tuple[DenseReport, ...] = ()
    if policy.dense is not None:
        if model_fn is not None:
            raise ValueError(
                "`dense` needs a model that can be copied from its "
                "configuration. Received: model_fn, which makes its dense "
                "layers anew"
            )
        model, dense = low_rank_dense(model, train, **vars(policy.dense))
        tables = find_tables(model)
    progress = verbose not in (0, "0")
    if plan is None:
        plan = make_plan(tables, policy, counts, progress=progress)
    planned = _fitting(plan, tables)
    chosen = [t for t in tables if not planned[t.path].settings.exact]
    methods = {
        t.path: policy.method_for(planned[t.path].settings) for t in chosen
    }
    if methods and not any(method.trains for method in methods.values()):
        epochs = 0
    scope = strategy_scope(strategy, methods.values(), folder)
    start = functools.partial(
        start_training,
        model,
        chosen,
        methods,
        planned,
        policy,
        counts,
        first,
        model_fn,
    )
    commitment = policy.commitment_weight
    measured = commitment is None and epochs and not policy.anew
    if measured and strategy is not None:  # what is measured is of one replica
        commitment = matched_commitment(
            model, start(optimizer, fresh=True), label(train)
        )
    drawn = None
    if policy.anew and strategy is not None:  # it would draw other values
        drawn = start(optimizer, fresh=True).get_weights()
    with scope:
        training = start(optimizer, fresh=strategy is not None, show=progress)
    if drawn is not None:
        training.set_weights(drawn)
        del drawn  # as large as the tables
    if measured and strategy is None:
        commitment = matched_commitment(model, training, label(train))
    if measured and commitment is not None:
        set_commitment(training, commitment)
    mark_train_steps(
        training, [_layer_at(training, table.path) for table in chosen]
    )
    for method in {id(m): m for m in methods.values()}.values():
        method.prepare(training)
    keep = KeepBest(
        valid,
        monitor,
        patience,
        [table.path for table in chosen],
        skip_start=policy.anew,
        path=None if folder is None else pathlib.Path(folder) / "state.npz",
        plan=f"{planned}{' by its answers' if distill else ''}",
    )
    keep.set_model(training)
    if folder is not None:
        pathlib.Path(folder).mkdir(parents=True, exist_ok=True)
        keep.restore()
    lost = None
    try:
        history = train_tables(
            training,
            train,
            epochs,
            steps_per_epoch,
            keep,
            callbacks,
            verbose,
            label,
        )
    except TrainingDiverged as error:
        place = first_not_finite(train)
        found = (
            "" if place is None else f" There is NaN or infinity in {place}."
        )
        if not keep.has_state:
            raise TrainingDiverged(f"{error}{found}") from None
        lost = f"{error}{found}"
        history = {}
        keep.use_best()
    compressed = rebuild(
        model,
        {
            t.path: functools.partial(
                _layer_at(training, t.path).freeze,
                keep.tables[t.path],
                dtype=policy_of(t.layer),
                **methods[t.path].frozen_config(
                    planned[t.path].settings, t.rows
                ),
            )
            for t in chosen
        },
        first,
        model_fn,
        weights_from=training,
    )
    compile_like(model, compressed, optimizer_like(model))
    distortion = {
        t.path: row_distortion(
            t.layer, _layer_at(compressed, t.path), counts[t.path]
        )
        for t in chosen
        if not policy.anew
    }
    report = CompressionReport(
        _table_reports(planned, compressed, distortion),
        keep.scores,
        round(time.monotonic() - started, 2),
        dense,
        commitment,
    )
    codes = EmbeddingCodes.from_model(compressed, counts)
    result = CompressionResult(compressed, report, planned, history, codes)
    if lost is not None:
        raise TrainingDiverged(
            f"{lost} The best state so far, {keep.describe_best()}, is "
            "compressed in the error's `result`.",
            result,
        )
    return result


def _survey(model, train, counts, model_fn):
    """Tables, a first batch, and counts; checks all that can be checked."""
    tables = find_tables(model)
    if not tables:
        raise ValueError(
            "`model` must hold an embedding table (tf.keras.layers.Embedding "
            f"or a subclass). Received {type(model).__name__} without one."
        )
    for table in tables:
        if not table.layer.built:
            raise ValueError(
                f"`model` must be built and trained. Received a model whose "
                f"table {table.path} has not been called on data yet."
            )
        try:
            check_table(table.values())
        except ValueError as error:
            raise ValueError(f"Table {table.path}: {error}") from None
    train = as_batches(train)
    first = next(iter(train), None)
    if first is None:
        raise ValueError("`train` must hold a batch. Received no data.")
    borrowed = {t.path: functools.partial(_same, t.layer) for t in tables}
    check_copy(model, rebuild(model, borrowed, first, model_fn), first)
    if counts is None:
        if train.cardinality() == tf.data.INFINITE_CARDINALITY:
            raise ValueError(
                "`train` must end, for ids to be counted in one pass, or "
                "`counts` be given. Received an infinite dataset."
            )
        counts = count_ids(model, tables, train, first, model_fn)
    for table in tables:
        if np.shape(counts.get(table.path)) != (table.rows,):
            raise ValueError(
                f"`counts` must give {table.rows} counts for {table.path}. "
                f"Received shape {np.shape(counts.get(table.path))}"
            )
    return tables, first, counts


def _fitting(plan: CompressionPlan, tables: list[Table]) -> CompressionPlan:
    """The plan, if it is one of these tables."""
    planned = {(t.path, t.rows, t.dim) for t in plan.tables}
    found = {(t.path, t.rows, t.dim) for t in tables}
    if planned != found:
        raise ValueError(
            "`plan` must be of the tables of `model`, as (path, rows, dim): "
            f"{sorted(found)}. Received one of {sorted(planned)}"
        )
    return plan


def _same(layer: Any) -> Any:
    return layer


def _layer_at(model: tf.keras.Model, path: str) -> Any:
    return dict(walk(model))[path]


def _table_reports(planned, model, distortion) -> tuple[TableReport, ...]:
    layers = dict(walk(model))
    reports = []
    for table in planned.tables:
        layer = layers[table.path]
        reports.append(
            TableReport(
                table.path,
                table.rows,
                table.dim,
                table.bytes_before,
                counting.layer_bytes(layer),
                describe(table),
                counting.layer_perplexity(layer),
                distortion=distortion.get(table.path),
            )
        )
    return tuple(reports)
