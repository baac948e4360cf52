"""Several frozen, compressed tables, one variable of codes."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from mec_tf.layers.code_lookup_embedding import CodeLookupEmbedding
from mec_tf.layers.fused_tables import FusedTables
from mec_tf.layers.variables import raw
from mec_tf.quantizers import packing, product


@tf.keras.utils.register_keras_serializable("mec_tf")
class FusedCodeLookupEmbedding(FusedTables):
    """`CodeLookupEmbedding`s of one layout, looked up together.

    Two gathers for the ids of all tables: codes, then codebook entries.

    Weights: `codes`, those of all tables; `codebooks`, `[tables *
    num_subspaces * codebook_size, entry width]`, each table's own.

    Args:
        tables: a dict for each table, as in `FusedTables`.
        output_dim: int, width of a vector.
        num_subspaces: int, `M`, codes a row.
        codebook_size: int, `K`, entries a codebook.
        codebook_dtype: "float32" (default) or "float16".
        bit_packed: bool, whether codes are packed to the bit. Default False.
        **kwargs: `additive_dim`, and those of `tf.keras.layers.Layer`.

    Input shape: integer ids `[..., tables]`.
    Output shape: `[..., tables, output_dim]`.
    """

    table_variables = ("codes", "codebooks")

    def __init__(
        self,
        tables: Sequence[Mapping[str, Any]],
        output_dim: int,
        num_subspaces: int,
        codebook_size: int,
        *,
        codebook_dtype: str = "float32",
        bit_packed: bool = False,
        **kwargs: Any,
    ):
        super().__init__(tables, output_dim, **kwargs)
        self.num_subspaces = num_subspaces
        self.codebook_size = codebook_size
        self.codebook_dtype = codebook_dtype
        self.bit_packed = bit_packed

    @classmethod
    def layout(cls, layer: tf.keras.layers.Layer) -> dict[str, Any] | None:
        # A subclass may look up otherwise. Each rotated table needs a product
        # with its own matrix, which no gather can join.
        if type(layer) is not CodeLookupEmbedding:
            return None
        if layer.mask_zero or layer.rotated:
            return None
        names = (
            "output_dim",
            "additive_dim",
            "num_subspaces",
            "codebook_size",
            "codebook_dtype",
            "bit_packed",
        )
        return {name: getattr(layer, name) for name in names}

    @property
    def rows_per_entry(self) -> int:
        if not self.bit_packed:
            return 1
        return packing.rows_per_byte(self.num_subspaces, self.codebook_size)

    def build(self, input_shape: Any = None) -> None:
        codes, size = self.num_subspaces, self.codebook_size
        width, dtype = codes, packing.code_dtype(size).name
        if self.bit_packed:
            (_, width), dtype = packing.packed_shape(1, codes, size), "uint8"
        self.codes = self._add_part("codes", (self.entries, width), dtype)
        split = (self.output_dim - self.additive_dim) // codes
        self.codebooks = self._add_part(
            "codebooks",
            (len(self.tables) * codes * size, split + self.additive_dim),
            self.codebook_dtype,
        )
        self.built = True

    def lookup_in(self, rows: tf.Tensor, places: np.ndarray) -> tf.Tensor:
        index = self.entry_index(rows, places)
        return product.look_up(raw(self.codebooks), index, self.additive_dim)

    def lookup_apart(
        self, rows: tf.Tensor, places: np.ndarray, last: int
    ) -> tuple[tf.Tensor, ...]:
        if last != self.additive_dim or last == self.output_dim:
            return super().lookup_apart(rows, places, last)
        index = self.entry_index(rows, places)
        entries = tf.gather(raw(self.codebooks), index)
        return product.decode_apart(entries, last)

    def entry_index(self, rows: tf.Tensor, places: np.ndarray) -> tf.Tensor:
        """Rows of `codebooks`, int64 `[..., n, M]`; as `lookup_in`."""
        if self.bit_packed:
            codes = packing.gather_bits(
                raw(self.codes), rows, self.num_subspaces, self.codebook_size
            )
        else:
            codes = tf.gather(raw(self.codes), rows)
        return product.flat_index(codes, self.codebook_size, places)

    def row_codes(self, name: str) -> np.ndarray:
        """The codes of one table, uint8 or uint16 `[stored rows, M]`."""
        start, stop = self.row_ranges[name]
        codes = raw(self.codes)[start:stop].numpy()
        if not self.bit_packed:
            return codes
        stored = int(self._stored[self.names.index(name)])
        return packing.unpack_bits(
            codes, stored, self.num_subspaces, self.codebook_size
        )

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        config.update(
            num_subspaces=self.num_subspaces,
            codebook_size=self.codebook_size,
            codebook_dtype=self.codebook_dtype,
            bit_packed=self.bit_packed,
        )
        return config
