"""A table whose popular rows are stored in another way than its rare ones."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from mec_tf.layers.nesting import build_inner, serialize_unbuilt
from mec_tf.layers.quantized_embedding import QuantizedEmbedding
from mec_tf.layers.table_layer import TableLayer


@tf.keras.utils.register_keras_serializable("mec_tf")
class TieredEmbedding(TableLayer):
    """Consecutive ranges of rows, each in a table of its own.

    Where ids are ordered by popularity, the first tier holds the popular
    rows, and may have more bits a row than the next; no map from id to tier
    is stored. A tier has its own codebooks and losses, as a table of its own
    would; lookups of other tiers take no part in them. Every tier looks every
    id up, so a lookup costs the sum of theirs.

    Args:
        input_dim: int, rows of the table.
        output_dim: int, width of a vector.
        tiers: table layers in the order of their rows: trainable ones
            (`QuantizedEmbedding`s, `TableEmbedding`s) or frozen ones
            (`CodeLookupEmbedding`s, `TableEmbedding`s). Their `input_dim` sum
            to `private_rows`, or `input_dim` without it. What they say of
            ids (`mask_zero`, `oov`) is not asked: this layer's holds.
        **kwargs: `additive_dim`, `private_rows`, `mask_zero`, `oov` as in
            `TableLayer`, and those of `tf.keras.layers.Layer`.

    Input shape: integer ids of any shape; ragged ids too.
    Output shape: the same with `output_dim` added, in `compute_dtype`.

    Raises:
        ValueError: if the tiers do not fit the table.

    Example:
        >>> popular = ProductQuantizedEmbedding(100, 8, 4)
        >>> rare = ProductQuantizedEmbedding(900, 8, 1)
        >>> layer = TieredEmbedding(1000, 8, [popular, rare])
        >>> layer(tf.constant([[1, 2, 999]])).shape
        TensorShape([1, 3, 8])
        >>> frozen = layer.freeze()
    """

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        tiers: Sequence[TableLayer],
        **kwargs: Any,
    ):
        super().__init__(input_dim, output_dim, **kwargs)
        for tier in tiers:
            if not isinstance(tier, TableLayer) or tier.private_rows:
                raise ValueError(
                    "`tiers` must be table layers of this package without "
                    f"`private_rows`. Received: {tier!r}"
                )
        shapes = [(tier.input_dim, tier.output_dim) for tier in tiers]
        rows = sum(rows for rows, _ in shapes)
        widths = {width for _, width in shapes}
        if (rows, widths) != (self.stored_rows, {self.output_dim}):
            raise ValueError(
                f"`tiers` must have {self.stored_rows} rows together, of "
                f"{self.output_dim} columns. Received tables of shapes "
                f"{shapes}"
            )
        self.tiers = list(tiers)
        if not self.trainable:
            for tier in self.tiers:
                tier.trainable = False

    def build(self, input_shape: Any = None) -> None:
        for tier in self.tiers:
            build_inner(tier)
        self.built = True

    def ranges(self) -> Iterator[tuple[int, int, Any]]:
        """First row, end and layer of every tier."""
        start = 0
        for tier in self.tiers:
            yield start, start + tier.input_dim, tier
            start += tier.input_dim

    def lookup(
        self, rows: tf.Tensor, training: bool, counted: tf.Tensor | None = None
    ) -> tf.Tensor:
        answer = None
        for start, end, tier in self.ranges():
            inside = tf.logical_and(rows >= start, rows < end)
            own = tf.where(inside, rows - start, tf.zeros_like(rows))
            present = inside
            if counted is not None:
                present = tf.logical_and(inside, counted)
            vectors = tier.lookup(own, training, present)
            if answer is None:
                answer = tf.zeros_like(vectors)
            answer = tf.where(inside[..., None], vectors, answer)
        return answer

    @property
    def learning(self) -> bool:
        """Whether a train step is traced whose model does not say so."""
        return any(getattr(tier, "learning", False) for tier in self.tiers)

    @learning.setter
    def learning(self, value: bool) -> None:
        for tier in self._quantized():
            tier.learning = value

    def _quantized(self) -> list[QuantizedEmbedding]:
        return [t for t in self.tiers if isinstance(t, QuantizedEmbedding)]

    def add_counts(self, counts: np.ndarray) -> None:
        """Adds `[input_dim]` training counts to the rows' popularity."""
        if np.shape(counts) != (self.input_dim,):
            raise ValueError(
                f"`counts` must have shape ({self.input_dim},). "
                f"Received shape {np.shape(counts)}"
            )
        if not self.built:
            self.build()
        counts = self._stored_counts(counts)
        for start, end, tier in self.ranges():
            tier.add_counts(counts[start:end])

    def _stored_counts(self, counts: np.ndarray) -> np.ndarray:
        """Counts of the stored rows; row 0 has those that share it."""
        kept = np.array(counts[: self.stored_rows])
        kept[0] += np.sum(counts[self.stored_rows :])
        return kept

    def warm_start(
        self,
        table: np.ndarray,
        counts: np.ndarray | None = None,
        *,
        seed: int = 0,
    ) -> None:
        """Starts every tier from its rows of a trained table.

        See `QuantizedEmbedding.warm_start`; exact tiers take the rows.

        Args:
            table: float `[input_dim, output_dim]`.
            counts: `[input_dim]` training counts, added to the popularity.
            seed: of k-means.

        Raises:
            ValueError: if the shape differs or a value is not finite.
        """
        table = self.rows_to_store(table, counts)
        if not self.built:
            self.build()
        if counts is not None:
            counts = self._stored_counts(counts)
        for start, end, tier in self.ranges():
            own = None if counts is None else counts[start:end]
            tier.warm_start(table[start:end], own, seed=seed)

    def frozen_state(self) -> dict[str, np.ndarray]:
        """What freezing keeps: arrays by "place of the tier/name"."""
        return {
            f"{place}/{name}": array
            for place, tier in enumerate(self.tiers)
            for name, array in tier.frozen_state().items()
        }

    def freeze(
        self,
        state: Mapping[str, np.ndarray] | None = None,
        *,
        tiers: Sequence[Mapping[str, Any]] | None = None,
        **config: Any,
    ) -> "TieredEmbedding":
        """The same table as codes, codebooks and the rows of exact tiers.

        Args:
            state: an earlier `frozen_state` to freeze instead of the present
                one.
            tiers: for each tier, what its own `freeze` is given, such as
                `codebook_dtype="float16"`. Default: nothing.
            **config: other arguments of this class, such as `dtype`.
        """
        state = self.frozen_state() if state is None else state
        frozen = []
        for place, tier in enumerate(self.tiers):
            prefix = f"{place}/"
            own = {
                name.removeprefix(prefix): array
                for name, array in state.items()
                if name.startswith(prefix)
            }
            settings = tiers[place] if tiers else {}
            frozen.append(tier.freeze(own, **settings))
        settings = {**self.get_config(), "tiers": frozen, **config}
        layer = type(self)(**settings)
        layer.build()
        return layer

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        config["tiers"] = [serialize_unbuilt(tier) for tier in self.tiers]
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "TieredEmbedding":
        tiers = [tf.keras.layers.deserialize(t) for t in config["tiers"]]
        return cls(**{**config, "tiers": tiers})
