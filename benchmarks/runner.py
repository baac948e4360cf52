"""Measures cells of a benchmark, each once, and writes a row for each."""

import dataclasses
import gc
import pathlib
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

import mec_tf
from benchmarks import forward_pass
from benchmarks.environment import peak_rss, read_rows, write_rows
from mec_tf import compression, pipeline
from mec_tf.compression.plan import Measurements, make_plan
from mec_tf.files import write_text
from mec_tf.training import FitSettings, evaluate

HISTORY_LENGTH = 20
SEQUENCE_BACKBONES = ("din",)
# Measured: the best L2 of an interaction log is far larger than of flights.
DEFAULT_L2 = {
    "flights": (0.001, 0.01, 0.1),
    "interactions": (0.1, 0.3, 1.0, 3.0),
}


@dataclasses.dataclass(frozen=True)
class Cell:
    """What one row measures.

    `target_ratio` is 1 for full precision, `embedding_dim` 0 for the model's
    own default.
    """

    dataset: str
    backbone: str
    method: str
    seed: int
    target_ratio: float = 1.0
    auxiliary: str = ""
    study: str = ""
    arm: str = ""
    embedding_dim: int = 0

    def matches(self, row: Mapping[str, Any]) -> bool:
        """Whether the row is of this cell; keys that it lacks are default."""
        return all(
            row.get(field.name, field.default) == getattr(self, field.name)
            for field in dataclasses.fields(self)
        )

    @property
    def key(self) -> dict[str, Any]:
        """The fields that are set, as the row holds them."""
        values = dataclasses.asdict(self)
        return {n: v for n, v in values.items() if v or n == "seed"}

    @property
    def full(self) -> "Cell":
        """The full-precision cell that this one is paired with."""
        return Cell(
            self.dataset,
            self.backbone,
            "full",
            self.seed,
            embedding_dim=self.embedding_dim,
        )

    def __str__(self) -> str:
        ratio = "" if self.target_ratio == 1.0 else f" {self.target_ratio:g}x"
        width = f"D={self.embedding_dim}" if self.embedding_dim else ""
        words = (self.dataset, self.backbone, width, self.study, self.arm)
        text = " ".join(word for word in words if word)
        source = f" from {self.auxiliary}" if self.auxiliary else ""
        return f"{text} {self.method}{source}{ratio}, seed {self.seed}"


@dataclasses.dataclass(frozen=True)
class Trained:
    """A model at its best, and how it came about; `seconds` of training."""

    model: tf.keras.Model
    validation_auc: float
    settings: FitSettings
    seconds: float


class Runner:
    """Runs cells whose rows a result file does not hold yet.

    The states of full-precision trainings stay in `work_dir`, so that every
    method of a seed starts from the same model, and a killed run goes on. L2
    and learning rate are tuned for the first seed that runs and kept for the
    others of the same dataset, backbone, method and ratio.

    Args:
        output: result file, JSON.
        work_dir: folder of trainings under way. Default: `<output>.work`.
        data: an interaction log, for any data set that is not flights.
        l2: embedding L2 to try. Default: of `DEFAULT_L2`.
        learning_rates: rates to try.
        settings: how to train, but for what is tuned.
        model: further arguments of every backbone.
    """

    def __init__(
        self,
        output: str,
        work_dir: str | None = None,
        data: str | None = None,
        l2: tuple[float, ...] | None = None,
        learning_rates: tuple[float, ...] = (0.001, 0.002),
        settings: FitSettings | None = None,
        model: Mapping[str, Any] | None = None,
    ):
        self.output = output
        self.work_dir = pathlib.Path(work_dir or f"{output}.work")
        self.data = data
        self.l2 = l2
        self.learning_rates = learning_rates
        self.base = settings or FitSettings()
        self.model = dict(model or {})
        self.rows = read_rows(output)
        self.failed: list[str] = []
        self._log: tuple[Any, Any] = (None, None)
        self._full: tuple[Any, Any] = (None, None)
        self._measured: dict[str, Measurements] = {}

    def run(
        self, cell: Cell, measure: Callable[["Runner", Cell], dict[str, Any]]
    ) -> dict[str, Any]:
        """The row of a cell: found, or measured and written."""
        for row in self.rows:
            if cell.matches(row):
                return row
        row = {**cell.key, **measure(self, cell), "peak_rss": peak_rss()}
        self.rows.append(row)
        write_rows(self.output, self.rows)
        print(
            f"{cell}: {row['ratio']:.1f}x, test AUC {row['auc']:.4f}, "
            f"log-loss {row['log_loss']:.4f}, {row['seconds']} s",
            flush=True,
        )
        return row

    def attempt(self, cell: Cell, run: Callable[["Runner", Cell], Any]) -> None:
        """Calls `run(self, cell)`; where it cannot be done, the next may."""
        try:
            run(self, cell)
        except ValueError as error:  # a ratio out of reach, say
            self.failed.append(f"{cell}: not measured: {error}")
            print(self.failed[-1], flush=True)

    def finish(self) -> None:
        """Ends the program with what could not be measured, if anything."""
        if self.failed:
            raise SystemExit("\n".join(self.failed))

    def log(self, dataset: str, backbone: str) -> mec_tf.data.Log:
        """The data set, with histories where the backbone wants them."""
        sequences = backbone in SEQUENCE_BACKBONES
        if self._log[0] != (dataset, sequences):
            self._log = ((dataset, sequences), self._load(dataset, sequences))
        return self._log[1]

    def _load(self, dataset: str, sequences: bool) -> mec_tf.data.Log:
        if dataset == "flights":
            if sequences:
                raise ValueError("flights has no histories for this backbone")
            return mec_tf.data.flights()
        if self.data is None:
            raise ValueError(f"--data must give the log {dataset}")
        if not sequences:
            return mec_tf.data.interactions(self.data)
        return mec_tf.data.interactions(
            self.data, history_length=HISTORY_LENGTH
        )

    def folder(self, cell: Cell) -> pathlib.Path:
        """Where the training of a cell lives."""
        words = (cell.method, cell.auxiliary, f"{cell.target_ratio:g}")
        name = "-".join(word for word in words if word)
        return self.seed_folder(cell) / name

    def seed_folder(self, cell: Cell) -> pathlib.Path:
        """Where all of a data set, backbone and seed is."""
        model = f"{cell.backbone}{cell.embedding_dim or ''}"
        return self.work_dir / cell.dataset / model / f"seed{cell.seed}"

    def job(
        self, cell: Cell, settings: FitSettings | None
    ) -> pipeline.RankingJob:
        """The job of a cell; it tunes where the settings are not known."""
        if settings is None:
            kind = "flights" if cell.dataset == "flights" else "interactions"
            grid = {
                "learning_rate": self.learning_rates,
                "embedding_l2": self.l2 or DEFAULT_L2[kind],
            }
        else:  # a grid of one point, so that its folder is found again
            grid = {
                "learning_rate": (settings.learning_rate,),
                "embedding_l2": (settings.embedding_l2,),
            }
        model = dict(self.model)
        if cell.embedding_dim:
            model["embedding_dim"] = cell.embedding_dim
        return pipeline.RankingJob(
            cell.backbone,
            model=model,
            settings=settings or self.base,
            grid=grid,
            seed=cell.seed,
        )

    def known_settings(self, cell: Cell) -> FitSettings | None:
        """Settings tuned earlier for another seed of the cell."""
        for row in self.rows:
            if dataclasses.replace(cell, seed=row["seed"]).matches(row):
                return FitSettings(**row["settings"])
        return None

    def full(self, cell: Cell) -> Trained:
        """The full-precision model of a cell's data, backbone and seed."""
        cell = cell.full
        if self._full[0] != cell:
            self.forget()
            job = self.job(cell, self.known_settings(cell))
            log = self.log(cell.dataset, cell.backbone)
            started = time.monotonic()
            model, valid, settings = pipeline.train_full(
                job, log, self.folder(cell), verbose=0
            )
            # A training that was found finished took what it took then.
            took = self._kept(cell, settings) / "seconds"
            if not took.exists():
                write_text(took, str(since(started)))
            seconds = float(took.read_text())
            self._full = (cell, Trained(model, valid.auc, settings, seconds))
        return self._full[1]

    def compress(
        self,
        cell: Cell,
        policy: compression.CompressionPolicy,
        distill: bool = False,
    ) -> compression.CompressionResult:
        """Compresses the full-precision model of a cell."""
        full = self.full(cell)
        log = self.log(cell.dataset, cell.backbone)
        job = dataclasses.replace(
            self.job(cell, full.settings), policy=policy, distill=distill
        )
        # What a table's settings cost is the same at every ratio.
        plan = make_plan(
            compression.find_tables(full.model),
            policy,
            pipeline.table_counts(full.model, log),
            measured=self._measured.setdefault(policy.method, {}),
        )
        return pipeline.compress_full(
            job, full.model, log, full.settings, plan=plan, verbose=0
        )

    def scores(self, cell: Cell, trained: Trained) -> dict[str, Any]:
        """What a row tells of a trained model: bytes, quality and time.

        Bytes are those of the exported model too. The forward pass is timed
        beside that of the full-precision model, where that is in memory.
        """
        model = trained.model
        log = self.log(cell.dataset, cell.backbone)
        times = {}
        if self._full[0] == cell.full:
            batch = next(iter(log.dataset("test", forward_pass.BATCH)))
            full_ms, own_ms = forward_pass.forward_pass_ms(
                [self._full[1].model, model], batch[0]
            )
            times = {
                "inference_ms": own_ms,
                "inference_ratio": own_ms / full_ms,
            }
        size = sum(compression.model_bytes(model).values())
        with tempfile.TemporaryDirectory() as folder:
            exported = mec_tf.export.save(
                model, f"{folder}/model", vocabularies=log.vocabularies
            )
            contents = mec_tf.export.inspect_saved_model(f"{folder}/model")
        return {
            "ratio": compression.full_bytes(model) / size,
            "bytes": size,
            "dense_bytes": sum(v.bytes for v in contents.variables)
            - contents.bytes_on_disk,
            "bytes_on_disk": exported.bytes_on_disk,
            **evaluate(model, log, "test").to_dict(),
            "validation_auc": trained.validation_auc,
            "settings": dataclasses.asdict(trained.settings),
            "seconds": trained.seconds,
            **times,
        }

    def forget(self) -> None:
        """Drops the model in memory and what Keras holds of earlier ones."""
        self._full, self._measured = (None, None), {}
        tf.keras.backend.clear_session()
        gc.collect()

    def tidy(self, cell: Cell, settings: FitSettings) -> None:
        """Removes a cell's trainings, but for the one of these settings."""
        kept = self._kept(cell, settings)
        if kept.exists():
            for child in self.folder(cell).iterdir():
                if child != kept:
                    shutil.rmtree(child)

    def _kept(self, cell: Cell, settings: FitSettings) -> pathlib.Path:
        """Where the training of these settings is."""
        return self.folder(cell) / settings.label


def since(started: float) -> float:
    """Seconds since a reading of the monotonic clock."""
    return round(time.monotonic() - started, 1)
