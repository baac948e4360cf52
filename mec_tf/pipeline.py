"""The main job: a log in; a tuned model, and the same model compressed, out."""

import contextlib
import dataclasses
import pathlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import tensorflow as tf

from mec_tf import compression
from mec_tf.compression.distill import Answers
from mec_tf.data import Log
from mec_tf.models import BACKBONES
from mec_tf.training import (
    FitSettings,
    Scores,
    TrainingDiverged,
    evaluate,
    fit,
    tune,
)


@dataclasses.dataclass(frozen=True)
class RankingJob:
    """What to train and how far to compress it.

    Args:
        backbone: a key of `mec_tf.models.BACKBONES`.
        model: further arguments of the model, `embedding_dim` say.
        settings: how to train.
        grid: values to try by name of a setting; empty trains once.
        policy: of the compression.
        seed: of everything random.
        distill: whether compressed tables learn what the full model answers,
            in place of the labels.
    """

    backbone: str = "deepfm"
    model: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    settings: FitSettings = FitSettings()
    grid: Mapping[str, Iterable[float]] = dataclasses.field(
        default_factory=dict
    )
    policy: compression.CompressionPolicy = compression.CompressionPolicy()
    seed: int = 0
    distill: bool = False

    def __post_init__(self):
        if self.backbone not in BACKBONES:
            raise ValueError(
                f"`backbone` must be one of {', '.join(BACKBONES)}. "
                f"Received: backbone={self.backbone!r}"
            )

    def make_model(self, log: Log, settings: FitSettings) -> tf.keras.Model:
        """A fresh model of the log's features."""
        return BACKBONES[self.backbone].from_log(
            log, embedding_l2=settings.embedding_l2, **self.model
        )


def train_full(
    job: RankingJob,
    log: Log,
    folder: str | pathlib.Path,
    *,
    verbose: str | int = "auto",
) -> tuple[tf.keras.Model, Scores, FitSettings]:
    """Trains the full-precision model; on the grid, if there is one.

    Returns:
        The model at its best, its validation scores, and its settings.
    """

    def make(settings: FitSettings) -> tf.keras.Model:
        return job.make_model(log, settings)

    if job.grid:
        return tune(
            make, log, job.settings, job.grid, folder,
            seed=job.seed, verbose=verbose,
        )  # fmt: skip
    model, scores = fit(
        make, log, job.settings, folder, seed=job.seed, verbose=verbose
    )
    return model, scores, job.settings


def compress_full(
    job: RankingJob,
    model: tf.keras.Model,
    log: Log,
    settings: FitSettings,
    *,
    plan: compression.CompressionPlan | None = None,
    folder: str | pathlib.Path | None = None,
    verbose: str | int = "auto",
) -> compression.CompressionResult:
    """Compresses a model of `train_full`.

    The best state is that of the highest exact validation AUC, less what the
    log-loss has risen over the full-precision model's: on some logs the AUC
    goes on rising while probabilities go wrong. A compressed model first loses
    AUC and may then pass the full one, so training waits for a better state
    as many passes as the method asks for. With `job.distill` the best state is
    the one nearest to the model's answers, and rows have no L2, which would
    draw them away from what it knows.

    With a `folder` for the state of the training, one that was killed goes on
    from there.
    """
    choose = _nearest if job.distill else _highest_auc
    choice = choose(job, model, log, settings)
    tf.keras.utils.set_random_seed(job.seed)
    train = log.dataset(
        "train", settings.batch_size, shuffle=True, seed=job.seed + 1
    )
    with _without_l2(model) if job.distill else contextlib.nullcontext():
        result = compression.compress(
            model,
            train,
            policy=job.policy,
            plan=plan,
            epochs=settings.epochs * settings.evaluations,
            steps_per_epoch=settings.steps(log.num_rows("train")),
            verbose=verbose,
            counts=table_counts(model, log),
            folder=folder,
            distill=job.distill,
            **choice,
        )
    result.model.embedding_l2 = model.embedding_l2
    return result


def _highest_auc(
    job: RankingJob, model: tf.keras.Model, log: Log, settings: FitSettings
) -> dict[str, Any]:
    """How `compress` chooses the best state where labels train it."""
    limit = evaluate(model, log, "validation").log_loss

    def quality(compressed: tf.keras.Model) -> float:
        scores = evaluate(compressed, log, "validation")
        return scores.auc - max(0.0, scores.log_loss - limit)

    passes = compression.METHODS[job.policy.method].passes_to_wait
    return {
        "monitor": quality,
        "patience": max(settings.patience, passes * settings.evaluations),
    }


def _nearest(
    job: RankingJob, model: tf.keras.Model, log: Log, settings: FitSettings
) -> dict[str, Any]:
    """How `compress` chooses the best state where answers train it."""
    return {
        "validation_data": log.dataset("validation", settings.batch_size),
        "patience": settings.patience,
    }


@contextlib.contextmanager
def _without_l2(model: tf.keras.Model) -> Iterator[None]:
    """Copies of the model that are made meanwhile have no L2 of rows."""
    l2, model.embedding_l2 = model.embedding_l2, 0.0
    try:
        yield
    except TrainingDiverged as error:
        if error.result is not None:
            error.result.model.embedding_l2 = l2
        raise
    finally:
        model.embedding_l2 = l2


def train_target(
    job: RankingJob,
    log: Log,
    codes: compression.EmbeddingCodes,
    settings: FitSettings,
    folder: str | pathlib.Path,
    *,
    trainable_codebooks: bool = False,
    teacher: tf.keras.Model | None = None,
    verbose: str | int = "auto",
) -> tuple[tf.keras.Model, Scores]:
    """Trains a model on tables that another model learned (MEC's stage 2).

    Args:
        job: says which model.
        log: training and validation data, of the vocabularies that the codes
            were learned on.
        codes: its tables, for every categorical feature.
        settings: how to train.
        folder: where the state of the training lives, as of `fit`.
        trainable_codebooks: whether the codebooks learn too.
        teacher: the compressed model whose tables the codes are. What it
            answers takes the place of the labels in training: codes of rare
            rows know those of the examples that taught them
            (`compression.with_answers`). Default: train on the labels.
        verbose: as in Keras.

    Returns:
        The model at its best validation AUC, and its validation scores.

    Raises:
        ValueError: if `codes` do not fit the model, or `teacher` has no
            compiled loss that tells of logits.
        ArtifactError: if the state in `folder` is damaged, of another model,
            or of other labels (a teacher's, or the log's).
    """
    batch = log.dataset("train", 2)
    relabel = None
    if teacher is not None:
        answers = Answers(teacher, name="teacher")
        answers.check("log", batch)
        relabel = answers.label

    def make(settings: FitSettings) -> tf.keras.Model:
        return compression.apply_codes(
            job.make_model(log, settings),
            codes,
            batch,
            trainable_codebooks=trainable_codebooks,
        )

    return fit(
        make, log, settings, folder,
        relabel=relabel, seed=job.seed, verbose=verbose,
    )  # fmt: skip


def train_hashed(
    job: RankingJob,
    log: Log,
    settings: FitSettings,
    folder: str | pathlib.Path,
    max_bytes: int,
    *,
    method: str = "hash",
    verbose: str | int = "auto",
) -> tuple[tf.keras.Model, Scores, FitSettings]:
    """Trains the model with hashed tables: the baseline at equal bytes.

    Args:
        job: says which model; its grid is tried as in `train_full`.
        log: training and validation data.
        settings: how to train, what the grid does not vary.
        folder: where the state of the training lives, as of `fit`.
        max_bytes: bytes of all tables together.
        method: "hash" or "quotient_remainder".
        verbose: as in Keras.

    Returns:
        The model at its best, its validation scores, and its settings.

    Raises:
        ValueError: if the method is unknown or the budget cannot be met.
    """
    full = job.make_model(log, settings)
    tables = full.field_embeddings.tables
    layers = compression.hashed_layers(
        {name: (t.input_dim, t.output_dim) for name, t in tables.items()},
        max_bytes,
        method,
        embeddings_initializer=tf.keras.initializers.serialize(
            full.embeddings_initializer
        ),
    )
    model = {**job.model, "embedding_layer": layers}
    hashed = dataclasses.replace(job, model=model, settings=settings)
    return train_full(hashed, log, folder, verbose=verbose)


def table_counts(model: tf.keras.Model, log: Log) -> dict[str, Any]:
    """Training counts of each table's rows, from the log's vocabularies.

    A table that several features share counts the lookups of all of them.
    """
    counts: dict[str, Any] = {}
    for feature, table in model.field_embeddings.fields.items():
        path = f"field_embeddings/tables/{table}"
        counts[path] = counts.get(path, 0) + log.counts[feature]
    return counts
