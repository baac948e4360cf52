"""Codes and codebooks, watched while they are trained."""

import os
import warnings
from typing import Any

import tensorflow as tf

from mec_tf.layers import QuantizedEmbedding
from mec_tf.training import summaries
from mec_tf.training.logged_loss import logged_loss
from mec_tf.training.table_health import (
    TableHealth,
    measure,
    quantized_tables,
    reseed,
)


class CodebookHealth(tf.keras.callbacks.Callback):
    """Logs how every quantized table uses its codes; warns; re-seeds.

    At the end of an epoch, for each `QuantizedEmbedding` of the model, in the
    Keras logs under `<layer name>/`:

    - `usage`: share of the codes that some row uses;
    - `dead_codes`: number of the others;
    - `perplexity`: `exp(entropy)` of the rows' codes, mean over sub-spaces;
      at most `K`;
    - `distortion`, `distortion_popular`, `distortion_middle`,
      `distortion_rare`: squared error of a vector, mean over lookups; of all,
      and of the tiers that answer a third of the lookups each;
    - `pwr`: popularity-weighted regularization of the whole table, in nats;
    - `contrastive`: weighted contrastive loss, mean over lookups, where on.

    Rows count that training looks up (`adapt`, `add_counts`; `compress` does
    it), all rows where that is not known. Every row is looked at, in chunks:
    the cost is that of encoding the table twice.

    Warns, once a table, of a perplexity below `collapse_share` of what it
    could be, `min(K, rows)`; and, once, where the contrastive losses of all
    tables are above `contrastive_share` of the logged loss, which holds them
    and the task's.

    Args:
        log_dir: folder for TensorBoard: the same values as scalars, and how
            the lookups spread over codes as a histogram (1 is an equal
            share). Default None: no files.
        every: epochs between two looks. Default 1.
        reseed: whether dead codes are moved onto rows drawn by lookups times
            error. Default False; moving averages re-seed from each batch
            by themselves.
        collapse_share: float in [0, 1], default 0.05.
        contrastive_share: float in [0, 1], default 0.5.
        seed: of the draws.

    Raises:
        ValueError: if an argument is out of its range, or the model has no
            quantized table.

    Example:
        >>> health = mec_tf.training.CodebookHealth("logs", reseed=True)
        >>> mec_tf.compress(model, train, callbacks=[health])
    """

    def __init__(
        self,
        log_dir: str | os.PathLike | None = None,
        *,
        every: int = 1,
        reseed: bool = False,
        collapse_share: float = 0.05,
        contrastive_share: float = 0.5,
        seed: int = 0,
    ):
        super().__init__()
        if every < 1:
            raise ValueError(
                f"`every` must be at least 1. Received: every={every}"
            )
        for name, share in (
            ("collapse_share", collapse_share),
            ("contrastive_share", contrastive_share),
        ):
            if not 0 <= share <= 1:
                raise ValueError(
                    f"`{name}` must lie between 0 and 1. "
                    f"Received: {name}={share}"
                )
        self.log_dir = log_dir
        self.every = every
        self.reseed = reseed
        self.collapse_share = collapse_share
        self.contrastive_share = contrastive_share
        self.seed = seed
        self._writer: Any = None
        self._warned: set[str] = set()

    def on_train_begin(self, logs: Any = None) -> None:
        if self.log_dir is not None:
            self._writer = tf.summary.create_file_writer(
                os.fspath(self.log_dir)
            )

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if (epoch + 1) % self.every:
            return
        logs = {} if logs is None else logs
        contrastive = 0.0
        for name, layer in self._tables():
            health = measure(layer, self.seed + epoch)
            values = self._values(name, layer, health)
            logs.update(values)
            contrastive += health.contrastive
            self._write(epoch, name, values, health)
            self._warn_of_collapse(name, layer, health)
            if self.reseed:
                reseed(layer, health)
        loss = logged_loss(logs)
        if loss is not None and contrastive > self.contrastive_share * loss:
            self._warn(
                "contrastive",
                f"The contrastive losses ({contrastive:.3g}) are more than "
                f"{self.contrastive_share:.0%} of the loss ({loss:.3g}) and "
                "overwhelm the task. Lower `contrastive_weight`.",
            )

    def on_train_end(self, logs: Any = None) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _tables(self) -> list[tuple[str, QuantizedEmbedding]]:
        found = list(quantized_tables(self.model))
        if not found:
            raise ValueError(
                "`model` must hold a quantized table in training, such as "
                "ProductQuantizedEmbedding. Received a model without one."
            )
        return found

    def _values(
        self, name: str, layer: QuantizedEmbedding, health: TableHealth
    ) -> dict[str, float]:
        dead = int(health.dead.sum())
        values = {
            "usage": 1.0 - dead / health.dead.size,
            "dead_codes": float(dead),
            "perplexity": health.perplexity,
            "distortion": health.distortion,
            "pwr": health.pwr,
        }
        for tier, distortion in health.tier_distortion.items():
            values[f"distortion_{tier}"] = distortion
        if layer.contrastive_weight:
            values["contrastive"] = health.contrastive
        return {f"{name}/{key}": value for key, value in values.items()}

    def _write(
        self,
        epoch: int,
        name: str,
        values: dict[str, float],
        health: TableHealth,
    ) -> None:
        if self._writer is None:
            return
        with self._writer.as_default(epoch):
            for key, value in values.items():
                summaries.scalar(key, value)
            relative = health.usage * health.usage.shape[1]
            summaries.histogram(f"{name}/code_usage", relative)
        self._writer.flush()

    def _warn_of_collapse(
        self, name: str, layer: QuantizedEmbedding, health: TableHealth
    ) -> None:
        most = min(layer.codebook_size, health.rows)
        # One code in use is as far as a table of one row can go.
        if most > 1 and health.perplexity < max(
            1.0 + 1e-6, self.collapse_share * most
        ):
            self._warn(
                name,
                f"The codes of {name} collapse: perplexity "
                f"{health.perplexity:.1f} of {most}. Lower "
                "`commitment_weight`, raise `pwr_weight`, or re-seed.",
            )

    def _warn(self, subject: str, message: str) -> None:
        if subject not in self._warned:
            self._warned.add(subject)
            warnings.warn(message, stacklevel=2)
