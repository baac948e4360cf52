"""What the trainable tables that learn their codes share."""

import abc
import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from mec_tf.layers.code_lookup_embedding import CodeLookupEmbedding
from mec_tf.layers.codebook_updates import (
    draw_seeds,
    moved,
    over_replicas,
    usage,
)
from mec_tf.layers.ids import count_into, deduplicated
from mec_tf.layers.replica_batch import listed_once, replica_batch
from mec_tf.layers.table_layer import TableLayer
from mec_tf.layers.variables import add_raw_weight, raw
from mec_tf.losses import (
    CommitmentLoss,
    ContrastiveQuantizationLoss,
    PopularityWeightedRegularization,
)
from mec_tf.quantizers import Quantizer, fit_additive, product

CODEBOOK_UPDATES = ("ema", "gradient")
WEIGHTS = ("commitment_weight", "pwr_weight", "contrastive_weight")


class QuantizedEmbedding(TableLayer, abc.ABC):
    """Base of the trainable tables that learn to live with their codes.

    Holds full-precision rows `s` and answers with their quantized form `z`.
    Gradients pass straight through to the rows; the commitment loss draws
    rows to their codes; codebooks follow the rows assigned to them. Ids out
    of range, and padding where `mask_zero` is set, take no part in losses and
    codebooks. A subclass says what its codes are (`make_quantizer`) and has
    `num_codes`, `M`, and `codebook_size`, `K`, before it calls `__init__`.

    Args:
        input_dim: int, rows of the table.
        output_dim: int, width of a vector.
        embeddings_initializer: Keras initializer of the rows. Default
            "uniform". Codebooks start from the same initializer.
        embeddings_regularizer: Keras regularizer of the whole table of
            rows, as in `Embedding`. Default None.
        embeddings_constraint: Keras constraint of the rows. Default None.
        codebook_update: "ema" (moving averages of the assigned rows,
            default) or "gradient" (their squared distance as a loss).
        ema_decay: float in (0, 1), default 0.99.
        commitment_weight: float, weight β of `mean ||s - z||²`. Default 0.1.
        pwr_weight: float, weight α of popularity-weighted regularization.
            The paper has 1e-4. Default 0: off.
        contrastive_weight: float, weight λ of the contrastive loss. The
            paper has 2e-3. Default 0: off.
        num_negatives: int, hard negatives a row. Default 1.
        temperature: float, of the contrastive loss. Default 1.
        track_usage: bool, whether the layer reports the metrics
            `<name>_usage` (share of codes in use) and `<name>_perplexity`.
            Default False.
        seed: int, of the rows that codes out of use move to, and of
            negatives. Default: drawn, following
            `tf.keras.utils.set_random_seed`.
        **kwargs: `additive_dim`, `private_rows`, `mask_zero`, `oov` as in
            `TableLayer`, and those of `tf.keras.layers.Layer`.

    Input shape: integer ids of any shape; ragged ids too.
    Output shape: the same with `output_dim` added, in `compute_dtype`.

    Raises:
        ValueError: if an argument is out of its range.
    """

    num_codes: int
    codebook_size: int
    table_variables = ("embeddings", "codebooks", "additive", "rotation")

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        *,
        embeddings_initializer: Any = "uniform",
        embeddings_regularizer: Any = None,
        embeddings_constraint: Any = None,
        codebook_update: str = "ema",
        ema_decay: float = 0.99,
        commitment_weight: float = 0.1,
        pwr_weight: float = 0.0,
        contrastive_weight: float = 0.0,
        num_negatives: int = 1,
        temperature: float = 1.0,
        track_usage: bool = False,
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(input_dim, output_dim, **kwargs)
        self.quantizer = self.make_quantizer()
        self.quantizer.check_dim(self.code_dim)
        if codebook_update not in CODEBOOK_UPDATES:
            raise ValueError(
                f"`codebook_update` must be one of {CODEBOOK_UPDATES}. "
                f"Received: codebook_update={codebook_update!r}"
            )
        if not 0.0 < ema_decay < 1.0:
            raise ValueError(
                "`ema_decay` must lie between 0 and 1. "
                f"Received: ema_decay={ema_decay}"
            )
        weights = (commitment_weight, pwr_weight, contrastive_weight)
        for name, weight in zip(WEIGHTS, weights, strict=True):
            if not (np.isfinite(weight) and weight >= 0):
                raise ValueError(
                    f"`{name}` must be at least 0. Received: {name}={weight}"
                )
        self.embeddings_initializer = tf.keras.initializers.get(
            embeddings_initializer
        )
        self.embeddings_regularizer = tf.keras.regularizers.get(
            embeddings_regularizer
        )
        self.embeddings_constraint = tf.keras.constraints.get(
            embeddings_constraint
        )
        self.codebook_update = codebook_update
        self.ema_decay = ema_decay
        self.commitment_weight = commitment_weight
        self.pwr_weight = pwr_weight
        self.contrastive_weight = contrastive_weight
        self.num_negatives = num_negatives
        self.temperature = temperature
        self.track_usage = track_usage
        self.seed = random.getrandbits(31) if seed is None else int(seed)
        self._commitment = CommitmentLoss()
        self._pwr = PopularityWeightedRegularization()
        self._contrastive = ContrastiveQuantizationLoss(
            num_negatives=num_negatives, temperature=temperature
        )
        # Set while a train step is traced whose model does not say `training`.
        self.learning = False
        if track_usage:
            self._usage = tf.keras.metrics.Mean(name=f"{self.name}_usage")
            self._perplexity = tf.keras.metrics.Mean(
                name=f"{self.name}_perplexity"
            )

    @abc.abstractmethod
    def make_quantizer(self) -> Quantizer:
        """What the codes of this table are."""

    @property
    def split_dim(self) -> int:
        """Columns that are quantized: `output_dim` less `additive_dim`."""
        return self.output_dim - self.additive_dim

    @property
    def code_dim(self) -> int:
        """Columns of a row as codes see it (`to_code_space`)."""
        return self.split_dim

    def build(self, input_shape: Any = None) -> None:
        books = (
            self.num_codes,
            self.codebook_size,
            self.quantizer.entry_dim(self.code_dim),
        )
        self.embeddings = add_raw_weight(
            self,
            "embeddings",
            (self.stored_rows, self.split_dim),
            "float32",
            _copy(self.embeddings_initializer),
            trainable=True,
            regularizer=self.embeddings_regularizer,
            constraint=self.embeddings_constraint,
        )
        # A model that `fit` builds is built while a graph is traced.
        with tf.init_scope():
            start = np.asarray(_copy(self.embeddings_initializer)(books))
        by_gradient = self.codebook_update == "gradient"
        self.codebooks = add_raw_weight(
            self, "codebooks", books, "float32", start, trainable=by_gradient
        )
        if not by_gradient:
            # The last column counts: counts start at 1 and sums at the
            # codebook, or the first step throws the codebooks away.
            self.moving = add_raw_weight(
                self,
                "moving",
                books[:-1] + (books[-1] + 1,),
                "float32",
                np.concatenate([start, np.ones_like(start[..., :1])], -1),
            )
        if self.additive_dim:
            self.additive = add_raw_weight(
                self,
                "additive",
                (self.num_codes * self.codebook_size, self.additive_dim),
                "float32",
                "zeros",
                trainable=True,
            )
        self.popularity = add_raw_weight(
            self, "popularity", (self.stored_rows,), "float32", "zeros"
        )
        # What is drawn depends on the seed and this alone: a run restored
        # from a checkpoint goes on bit for bit.
        self.counter = add_raw_weight(self, "counter", (), "int64", "zeros")
        self.built = True

    def to_code_space(self, vectors: tf.Tensor) -> tf.Tensor:
        """Rows `[n, D]` as they are quantized; the identity by default."""
        return vectors

    def from_code_space(self, vectors: tf.Tensor) -> tf.Tensor:
        """Undoes `to_code_space`."""
        return vectors

    def lookup(
        self, rows: tf.Tensor, training: bool, counted: tf.Tensor | None = None
    ) -> tf.Tensor:
        own, places = deduplicated(tf.reshape(rows, [-1]))
        vectors = tf.gather(raw(self.embeddings), own)
        learned, batch = vectors, None
        if training or self.learning:
            lookups = tf.ones_like(places, tf.float32)
            if counted is not None:
                lookups = tf.cast(tf.reshape(counted, [-1]), tf.float32)
            lookups = tf.math.unsorted_segment_sum(
                lookups, places, tf.shape(own)[0]
            )
            batch = replica_batch(own, lookups, self.seed)
            learned = batch.vectors(raw(self.embeddings), vectors)
        inner = self.to_code_space(learned)
        codebooks = tf.convert_to_tensor(raw(self.codebooks))
        codes, parts = self.quantizer.assign(
            inner, codebooks, exact=batch is None
        )
        flat = product.flat_index(codes, self.codebook_size)
        width = codebooks.shape[-1]
        entries = tf.gather(tf.reshape(codebooks, [-1, width]), flat)
        quantized = self.quantizer.join(entries)
        if batch is not None:
            counter = raw(self.counter)
            seed = tf.stack([batch.seed, tf.convert_to_tensor(counter)])
            self._add_losses(
                batch, inner, quantized, codes, parts, codebooks, seed
            )
            self._update_codebooks(batch, parts, flat, seed)
            counter.assign_add(1)
            quantized, flat = batch.of_own(quantized), batch.of_own(flat)
        # Adds an exact zero, so that the frozen layer answers bit for bit.
        passage = vectors - tf.stop_gradient(vectors)
        answer = tf.stop_gradient(self.from_code_space(quantized)) + passage
        if self.additive_dim:
            sums = tf.gather(raw(self.additive), flat)
            answer = tf.concat([answer, tf.reduce_sum(sums, 1)], -1)
        shape = tf.concat([tf.shape(rows), [self.output_dim]], axis=0)
        answer = tf.reshape(tf.gather(answer, places), shape)
        answer.set_shape(rows.shape + [self.output_dim])
        return answer

    def _add_losses(
        self, batch, inner, quantized, codes, parts, codebooks, seed
    ):
        lookups = batch.lookups
        share = tf.math.divide_no_nan(lookups, tf.reduce_sum(lookups))

        def add(weight: float, loss: tf.Tensor) -> None:
            self.add_loss(listed_once(weight * loss))

        if self.commitment_weight:
            losses = self._commitment.call(quantized, inner)
            add(self.commitment_weight, tf.reduce_sum(share * losses))
        if self.codebook_update == "gradient":
            losses = self._commitment.call(inner, quantized)
            add(1.0, tf.reduce_sum(share * losses))
        if self.pwr_weight:
            counts = tf.gather(raw(self.popularity), batch.rows)
            loss = self._pwr.of_batch(counts, parts, codebooks, lookups)
            add(self.pwr_weight, loss)
        if self.contrastive_weight:
            losses = self._contrastive.of_codes(
                codes, inner, codebooks, self.quantizer.join, seed
            )
            add(self.contrastive_weight, tf.reduce_sum(share * losses))

    def _update_codebooks(self, batch, parts, flat, seed):
        by_average = self.codebook_update == "ema"
        if not by_average and not self.track_usage:
            return
        size = self.num_codes * self.codebook_size
        points = tf.stop_gradient(tf.transpose(parts, [1, 0, 2]))
        counted = tf.concat([points, tf.ones_like(points[..., :1])], -1)
        lookups = batch.own_lookups if by_average else batch.lookups
        counted *= lookups[:, None, None]
        width = points.shape[-1]
        sums = tf.math.unsorted_segment_sum(
            tf.reshape(counted, [-1, width + 1]), tf.reshape(flat, [-1]), size
        )
        sums = tf.reshape(sums, [self.num_codes, self.codebook_size, width + 1])
        if by_average:
            seeds = draw_seeds(points, batch.lookups, self.codebook_size, seed)
            sums, seeds = over_replicas(sums, seeds)
            moving = raw(self.moving)
            moving.assign(moved(moving, sums, seeds, self.ema_decay))
            codebooks = moving[..., :-1] / tf.maximum(moving[..., -1:], 1e-12)
            raw(self.codebooks).assign(codebooks)
        if self.track_usage:
            used, perplexity = usage(sums[..., -1])
            self._usage.update_state(used)
            self._perplexity.update_state(perplexity)

    def adapt(self, ids: Any) -> None:
        """Counts row popularity from ids of the training data.

        Args:
            ids: integer array or tensor of any shape, or a `tf.data.Dataset`
                (or other iterable) of them. Adds to earlier counts; ids out
                of range do not count.
        """
        batches = [ids] if hasattr(ids, "shape") else ids
        counts = np.zeros(self.input_dim, np.int64)
        for batch in batches:
            count_into(counts, batch)
        self.add_counts(counts)

    def add_counts(self, counts: np.ndarray) -> None:
        """Adds `[input_dim]` training counts to the rows' popularity."""
        if np.shape(counts) != (self.input_dim,):
            raise ValueError(
                f"`counts` must have shape ({self.input_dim},). "
                f"Received shape {np.shape(counts)}"
            )
        if not self.built:
            self.build()
        kept = np.array(counts[: self.stored_rows], np.float32)
        kept[0] += counts[self.stored_rows :].sum()
        raw(self.popularity).assign_add(kept)

    def warm_start(
        self,
        table: np.ndarray,
        counts: np.ndarray | None = None,
        *,
        seed: int = 0,
    ) -> None:
        """Starts from a trained table: its rows, and k-means codebooks.

        Rows are weighted by popularity (all alike where none is known); rows
        that share row 0 enter by their mean. Additive columns are fitted to
        the codes by least squares.

        Args:
            table: float `[input_dim, output_dim]`.
            counts: `[input_dim]` training counts, added to the popularity
                that `adapt` or `add_counts` left.
            seed: of k-means.

        Raises:
            ValueError: if the shape differs or a value is not finite.
        """
        table = self.rows_to_store(table, counts)
        if not self.built:
            self.build()
        if counts is not None:
            self.add_counts(counts)
        weights = raw(self.popularity).numpy()
        vectors = np.ascontiguousarray(
            table[:, : self.split_dim], dtype=np.float32
        )
        raw(self.embeddings).assign(vectors)
        codebooks = self.fit_codebooks(vectors, weights, seed)
        raw(self.codebooks).assign(codebooks)
        if self.codebook_update == "ema":
            ones = np.ones_like(codebooks[..., :1])
            raw(self.moving).assign(np.concatenate([codebooks, ones], -1))
        if self.additive_dim:
            additive = fit_additive(
                self.encode(),
                np.asarray(table[:, self.split_dim :], np.float32),
                weights,
                self.codebook_size,
            )
            raw(self.additive).assign(additive)

    def fit_codebooks(
        self, vectors: np.ndarray, weights: np.ndarray, seed: int
    ) -> np.ndarray:
        """Codebooks `[M, K, d]` for rows `[n, D]` and their weights."""
        return self.quantizer.fit(vectors, weights, seed=seed)

    def encode(self) -> np.ndarray:
        """Codes of every stored row: `[stored rows, M]`, packed."""
        return self.quantizer.encode(
            raw(self.embeddings).numpy(), raw(self.codebooks).numpy()
        )

    def frozen_state(self) -> dict[str, np.ndarray]:
        """What freezing keeps: arguments of `CodeLookupEmbedding.from_codes`.

        Returns:
            `codes` `[stored rows, M]`, `codebooks` `[M, K, entry width]`.
        """
        codebooks = raw(self.codebooks).numpy()
        if self.additive_dim:
            additive = raw(self.additive).numpy()
            shape = codebooks.shape[:-1] + (self.additive_dim,)
            codebooks = np.concatenate(
                [codebooks, additive.reshape(shape)], axis=-1
            )
        return {"codes": self.encode(), "codebooks": codebooks}

    @property
    def frozen_additive_dim(self) -> int:
        """`additive_dim` of the frozen layer."""
        return self.additive_dim

    def freeze(
        self, state: Mapping[str, np.ndarray] | None = None, **config: Any
    ) -> CodeLookupEmbedding:
        """The same table as codes and codebooks only.

        Args:
            state: an earlier `frozen_state` to freeze instead of the present
                one.
            **config: other arguments of `CodeLookupEmbedding`, such as
                `codebook_dtype="float16"` or `trainable_codebooks=True`.
        """
        settings = {
            "input_dim": self.input_dim,
            "output_dim": self.output_dim,
            "additive_dim": self.frozen_additive_dim,
            "private_rows": self.private_rows,
            "mask_zero": self.mask_zero,
            "oov": self.oov,
            "name": self.name,
        }
        state = self.frozen_state() if state is None else state
        return CodeLookupEmbedding.from_codes(**state, **{**settings, **config})

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        config.update(
            codebook_size=self.codebook_size,
            embeddings_initializer=tf.keras.initializers.serialize(
                self.embeddings_initializer
            ),
            embeddings_regularizer=tf.keras.regularizers.serialize(
                self.embeddings_regularizer
            ),
            embeddings_constraint=tf.keras.constraints.serialize(
                self.embeddings_constraint
            ),
            codebook_update=self.codebook_update,
            ema_decay=self.ema_decay,
            commitment_weight=self.commitment_weight,
            pwr_weight=self.pwr_weight,
            contrastive_weight=self.contrastive_weight,
            num_negatives=self.num_negatives,
            temperature=self.temperature,
            track_usage=self.track_usage,
            seed=self.seed,
        )
        return config


def _copy(initializer: Any) -> Any:
    """A fresh one: Keras 2 warns where one instance fills two weights."""
    if isinstance(initializer, tf.keras.initializers.Initializer):
        return type(initializer).from_config(initializer.get_config())
    return initializer
