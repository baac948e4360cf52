"""What the methods of compression share."""

import abc
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import numpy as np
import tensorflow as tf

from mec_tf.compression.settings import Settings
from mec_tf.compression.tables import Table
from mec_tf.layers import TableLayer

if TYPE_CHECKING:
    from mec_tf.compression.policy import CompressionPolicy

Measured: TypeAlias = tuple[Settings, float]
S = TypeVar("S", bound=Settings)


class Method(abc.ABC):
    """How tables are compressed: what they may become and how they learn.

    One object serves all tables; it holds no state of theirs.
    """

    # Of the settings that this method understands.
    settings_type: type[Settings]
    # Where the policy gives no budget; None leaves the size to the method.
    default_ratio: float | None = None
    # False: tables take their final form at once, and nothing is trained.
    trains = True
    # True: nothing of a trained table helps; the model is trained anew.
    from_scratch = False
    # False: the train step works on one replica of a strategy only.
    replicated = True
    # Passes over the data that `mec_tf.pipeline` goes on for without a better
    # state: a model first loses by its tables' new form and may then gain.
    passes_to_wait = 3

    def settle(
        self, tables: list[Table], max_bytes: int
    ) -> dict[str, Settings]:
        """Settings by path, for a method that shares the bytes out itself.

        Others return nothing, and are asked for `candidates` and `measured`.

        Args:
            tables: those without settings yet; need not be trained.
            max_bytes: that they may take together.

        Raises:
            ValueError: if they need more.
        """
        return {}

    def candidates(
        self,
        table: Table,
        policy: "CompressionPolicy",
        counts: np.ndarray,
    ) -> list[Settings]:
        """Settings that a table may get.

        Args:
            table: the table; its values need not be trained.
            policy: what to reach.
            counts: `[rows]` in training.
        """
        raise NotImplementedError

    def measured(
        self,
        table: Table,
        policy: "CompressionPolicy",
        counts: np.ndarray,
    ) -> list[Measured]:
        """The same, with the squared error of each.

        The error is summed over the lookups of the training data, and 0 where
        there is no choice. Each takes more bytes than the one before and has
        less error.

        Args: as of `candidates`.
        """
        raise NotImplementedError

    @abc.abstractmethod
    def trainable(
        self, table: Table, settings: Any, policy: "CompressionPolicy"
    ) -> TableLayer:
        """The unbuilt layer that learns a table in its new form."""

    def frozen_config(self, settings: Any, rows: int) -> dict[str, Any]:
        """What the learned layer's `freeze` is given."""
        return {}

    def prepare(self, model: tf.keras.Model) -> None:  # noqa: B027
        """Changes the train step of a compiled model, where it must be."""


def layer_config(table: Table) -> dict[str, Any]:
    """What a layer in a table's place takes over from it."""
    source = table.layer
    return {
        "additive_dim": table.additive_dim,
        "mask_zero": getattr(source, "mask_zero", False),
        "oov": getattr(source, "oov", "zero"),
        "name": source.name,
        "dtype": policy_of(source),
    }


def policy_of(layer: Any) -> Any:
    """The dtype policy of a layer of either Keras."""
    return getattr(layer, "dtype_policy", None) or layer.dtype


def useful(
    found: list[tuple[S, float]], rows: int, table: Table
) -> list[tuple[S, float]]:
    """By size, those with less error than all smaller ones.

    Args:
        found: settings and their errors.
        rows: that they are for.
        table: gives the width.
    """

    def size(settings: Settings) -> int:
        return settings.stored_bytes(rows, table.dim, table.additive_dim)

    kept: list[tuple[S, float]] = []
    for choice in sorted(found, key=lambda each: (size(each[0]), each[1])):
        if not kept or choice[1] < kept[-1][1]:
            kept.append(choice)
    return kept
