"""What the layers that hold several tables of one layout share."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from mec_tf.layers import ids as id_rules
from mec_tf.layers.columns import columns_apart
from mec_tf.layers.nesting import build_inner
from mec_tf.layers.table_layer import TableLayer
from mec_tf.layers.variables import add_raw_weight, raw


class FusedTables(TableLayer):
    """Base of the fused tables: ids of many tables in, one lookup.

    The rows of all tables stand one after the other in one variable. Each
    table keeps its own rows, range of ids and out-of-range policy; a lookup
    applies them to all ids at once. Made from built layers, by
    `from_layers`. For inference: nothing is trained.

    Args:
        tables: a dict for each table, with its "name" and, as in
            `TableLayer`, "input_dim", "private_rows" and "oov"; `"error"` for
            all tables or for none.
        output_dim: int, width of a vector.
        additive_dim: int, how many of the last columns are sums. Default 0.
        **kwargs: of `tf.keras.layers.Layer`.

    Input shape: integer ids `[..., tables]`, one for each table.
    Output shape: `[..., tables, output_dim]` in `compute_dtype`.

    Raises:
        ValueError: if an argument is out of its range.
    """

    def __init__(
        self,
        tables: Sequence[Mapping[str, Any]],
        output_dim: int,
        *,
        additive_dim: int = 0,
        **kwargs: Any,
    ):
        # They check the settings.
        singles = {
            table["name"]: TableLayer(
                output_dim=output_dim,
                **{k: value for k, value in table.items() if k != "name"},
            )
            for table in tables
        }
        policies = [single.oov for single in singles.values()]
        refused = policies.count(id_rules.OOV_ERROR)
        if len(singles) < max(1, len(tables)) or 0 < refused < len(singles):
            raise ValueError(
                "`tables` must hold at least one table, different names, and "
                f'oov="error" in all or in none. Received: tables={tables}'
            )
        super().__init__(
            sum(single.input_dim for single in singles.values()),
            output_dim,
            additive_dim=additive_dim,
            **kwargs,
        )
        self.tables = tuple(dict(table) for table in tables)
        self.checks_range = refused > 0
        rows = [(t.input_dim, t.stored_rows) for t in singles.values()]
        self._input_dims, self._stored = np.array(rows).T
        self._zeroed = np.array([oov == id_rules.OOV_ZERO for oov in policies])
        # Rows that are not private share row 0.
        self._fallbacks = np.array(
            [
                oov if isinstance(oov, int) and oov < stored else 0
                for oov, (_, stored) in zip(policies, rows, strict=True)
            ]
        )
        self._joined: Callable[[str], tf.Tensor] | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the tables."""
        return tuple(table["name"] for table in self.tables)

    @property
    def rows_per_entry(self) -> int:
        """Rows that share an entry of the first axis of the variable."""
        return 1

    @property
    def row_ranges(self) -> dict[str, tuple[int, int]]:
        """`{table: (start, stop)}` on the first axis of the rows' variable."""
        ends = np.cumsum(-(-self._stored // self.rows_per_entry)).tolist()
        pairs = zip([0, *ends], ends, strict=False)
        return dict(zip(self.names, pairs, strict=True))

    @property
    def entries(self) -> int:
        """Length of the first axis of the rows' variable."""
        return self.row_ranges[self.names[-1]][1]

    def describe(self) -> list[dict[str, Any]]:
        """The tables' settings, with their "row_range" in the variable."""
        ranges = self.row_ranges
        return [
            {**table, "row_range": list(ranges[table["name"]])}
            for table in self.tables
        ]

    @classmethod
    def layout(cls, layer: tf.keras.layers.Layer) -> dict[str, Any] | None:
        """The constructor's arguments that tables must share to be fused.

        None where `layer` cannot be fused with any other.
        """
        raise NotImplementedError

    @classmethod
    def from_layers(
        cls, layers: Mapping[str, TableLayer], **kwargs: Any
    ) -> "FusedTables":
        """A built layer that holds the tables of built layers.

        Args:
            layers: `{table name: layer}`, all of one `layout`.
            **kwargs: of `tf.keras.layers.Layer`.
        """
        tables = [
            {
                "name": name,
                "input_dim": layer.input_dim,
                "private_rows": layer.private_rows,
                "oov": layer.oov,
            }
            for name, layer in layers.items()
        ]
        layout = cls.layout(next(iter(layers.values())))
        assert layout is not None
        fused = cls(tables, **layout, **kwargs)

        # A function: variables in an attribute would become the layer's own.
        def joined(name: str) -> tf.Tensor:
            parts = [raw(getattr(layer, name)) for layer in layers.values()]
            return tf.concat(parts, axis=0)

        fused._joined = joined
        build_inner(fused)
        fused._joined = None
        return fused

    def _add_part(self, name: str, shape: tuple[int, ...], dtype: str) -> Any:
        joined = self._joined
        initializer: Any = "zeros"
        if joined is not None:

            def initial(shape: Any, dtype: Any = None, **_: Any) -> tf.Tensor:
                return joined(name)

            initializer = initial
        return add_raw_weight(self, name, shape, dtype, initializer)

    def lookup_in(self, rows: tf.Tensor, places: np.ndarray) -> tf.Tensor:
        """Vectors `[..., n, output_dim]` of rows `[..., n]`.

        Args:
            rows: row numbers, counted over all tables.
            places: `[n]`, which table each of the last axis is of.
        """
        raise NotImplementedError

    def lookup_apart(
        self, rows: tf.Tensor, places: np.ndarray, last: int
    ) -> tuple[tf.Tensor, ...]:
        """As `lookup_in`, the last columns apart.

        Not to join columns that are then cut off again saves two copies.

        Args:
            rows: as of `lookup_in`.
            places: as of `lookup_in`.
            last: how many columns.
        """
        return columns_apart(self.lookup_in(rows, places), last)

    def call(self, inputs: Any, training: bool = False) -> tf.Tensor:
        (vectors,) = self.vectors(inputs, self.names)
        return vectors

    def vectors(
        self, ids: Any, names: Sequence[str], apart: int = 0
    ) -> tuple[tf.Tensor, ...]:
        """Vectors of ids of some of the tables.

        Args:
            ids: integers `[..., n]`.
            names: the table of each of the last axis; one may come twice.
            apart: how many of the last columns to give apart. Default 0.

        Returns:
            `[..., n, output_dim]` in `compute_dtype`; with `apart`, two:
            `[..., n, output_dim - apart]` and `[..., n, apart]`.
        """
        rows, places, valid = self.find(ids, names)
        if apart:
            parts = self.lookup_apart(rows, places, apart)
        else:
            parts = (self.lookup_in(rows, places),)
        parts = tuple(tf.cast(part, self.compute_dtype) for part in parts)
        if valid is None:
            return parts
        return tuple(id_rules.zero_out(part, valid) for part in parts)

    def find(
        self, ids: Any, names: Sequence[str]
    ) -> tuple[tf.Tensor, np.ndarray, tf.Tensor | None]:
        """Where the vectors of ids stand: as `vectors`, without the lookup.

        Returns:
            `rows` and `places` as `lookup_in` takes them, and a mask `[..., n]`
            that is False where the vector is zero (None where none is).
        """
        places = np.array([self.names.index(name) for name in names])
        ids = id_rules.to_integers(tf.convert_to_tensor(ids))
        if self.input_dim > np.iinfo(np.int32).max:
            ids = tf.cast(ids, tf.int64)
        rows, valid = self._rows(ids, places)
        return rows, places, valid

    def _rows(
        self, ids: tf.Tensor, places: np.ndarray
    ) -> tuple[tf.Tensor, tf.Tensor | None]:
        """`TableLayer`'s rules for ids, with constants for each table."""

        def constant(values: np.ndarray) -> tf.Tensor:
            return tf.constant(values[places], ids.dtype)

        policy = id_rules.OOV_ERROR if self.checks_range else id_rules.OOV_ZERO
        rows, known = id_rules.in_range(ids, self._input_dims[places], policy)
        if (self._stored < self._input_dims)[places].any():
            private = rows < constant(self._stored)
            rows = tf.where(private, rows, tf.zeros_like(rows))
        zeroed = self._zeroed[places]
        if known is not None and not zeroed.all():
            rows = tf.where(known, rows, constant(self._fallbacks))
            known = tf.logical_or(known, zeroed == 0) if zeroed.any() else None
        starts = np.array([start for start, _ in self.row_ranges.values()])
        return rows + constant(starts * self.rows_per_entry), known

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        # These are each table's own.
        for name in ("input_dim", "private_rows", "mask_zero", "oov"):
            del config[name]
        config["tables"] = [dict(table) for table in self.tables]
        return config
