"""A table as codes."""

import dataclasses

from mec_tf.compression.counting import in_tiers
from mec_tf.compression.settings.base import Settings
from mec_tf.layers.code_lookup_embedding import QUANTIZERS
from mec_tf.quantizers import packing


@dataclasses.dataclass(frozen=True)
class TableSettings(Settings):
    """A table stored as codes and codebooks.

    Args:
        num_subspaces: `M`, codes a row. 0 leaves the table as it is.
        codebook_size: `K`, entries a codebook. Default 256.
        codebook_dtype: "float16" (default) or "float32".
        private_rows: rows with codes of their own; later rows share row 0.
            None (default): all.
        quantizer: "product" (default); "rotated", product quantization of
            rotated rows; or "residual", sums of `M` entries.
        rank: dimensions to which rows are projected before they are coded,
            where the quantizer is "rotated". Default None: all.
        heads: popularity tiers, where ids are ordered by popularity:
            `((rows, settings), ...)` of the first rows, the most popular
            first; the other settings are then those of the rows that are
            left. Default: none.

    Codes are packed to the bit where that saves bytes.

    Raises:
        ValueError: if an argument is out of its range.

    Example:
        >>> TableSettings(1, 64, heads=((1000, TableSettings(4, 256)),))
        TableSettings(num_subspaces=1, codebook_size=64, ...)
    """

    num_subspaces: int
    codebook_size: int = 256
    codebook_dtype: str = "float16"
    private_rows: int | None = None
    quantizer: str = "product"
    rank: int | None = None
    heads: tuple[tuple[int, "TableSettings"], ...] = ()

    def __post_init__(self):
        for rows, head in self.heads:
            plain = isinstance(head, TableSettings) and not (
                head.heads or head.private_rows
            )
            if rows < 1 or not plain or not self.num_subspaces:
                raise ValueError(
                    "`heads` must give a number of rows and settings without "
                    "`heads` and `private_rows`, before rows with codes. "
                    f"Received: {(rows, head)!r} before rows of "
                    f"num_subspaces={self.num_subspaces}"
                )
        if self.num_subspaces < 0:
            raise ValueError(
                "`num_subspaces` must be at least 0. "
                f"Received: num_subspaces={self.num_subspaces}"
            )
        if self.rank is not None and (
            self.rank < 1 or self.quantizer != "rotated"
        ):
            raise ValueError(
                "`rank` must be at least 1, and goes with "
                'quantizer="rotated". '
                f"Received: rank={self.rank}, quantizer={self.quantizer!r}"
            )
        packing.code_dtype(self.codebook_size)
        if self.codebook_dtype not in ("float16", "float32"):
            raise ValueError(
                '`codebook_dtype` must be "float16" or "float32". '
                f"Received: codebook_dtype={self.codebook_dtype!r}"
            )
        if self.quantizer not in QUANTIZERS:
            raise ValueError(
                f"`quantizer` must be one of {', '.join(QUANTIZERS)}. "
                f"Received: quantizer={self.quantizer!r}"
            )

    @property
    def exact(self) -> bool:  # type: ignore[override]
        return not self.num_subspaces

    @property
    def bit_packed(self) -> bool:
        """Whether codes are packed to the bit."""
        return bool(self.num_subspaces) and packing.saves(
            self.num_subspaces, self.codebook_size
        )

    def tiers(self, rows: int) -> tuple[tuple[int, "TableSettings"], ...]:
        """Stored rows and settings of each tier of a table of `rows` rows."""
        last = (self.private_rows or rows) - sum(n for n, _ in self.heads)
        rest = dataclasses.replace(self, private_rows=None, heads=())
        return (*self.heads, (last, rest))

    def stored_bytes(self, rows: int, dim: int, additive_dim: int) -> int:
        """Bytes of a `[rows, dim]` table under these settings."""
        if self.heads:
            return sum(
                settings.stored_bytes(stored, dim, additive_dim)
                for stored, settings in self.tiers(rows)
            )
        if not self.num_subspaces:
            return rows * dim * 4
        split = dim - additive_dim
        coded = self.rank or split
        entry = dim
        if self.quantizer != "residual":
            entry = coded // self.num_subspaces + additive_dim
        floats = self.num_subspaces * self.codebook_size * entry
        if self.quantizer == "rotated":
            floats += split * coded
        codes = packing.codes_bytes(
            self.private_rows or rows,
            self.num_subspaces,
            self.codebook_size,
            self.bit_packed,
        )
        return codes + floats * (2 if self.codebook_dtype == "float16" else 4)

    def check(self, path: str, rows: int, dim: int, additive_dim: int) -> None:
        if self.exact:
            return
        width = dim - additive_dim
        *_, (rest, _) = tiers = self.tiers(rows)
        if self.heads and rest < 1:
            raise ValueError(
                f"`heads` must leave rows of the "
                f"{self.private_rows or rows} of {path}. "
                f"Received: heads={self.heads}"
            )
        for _, tier in tiers:
            codes, coded = tier.num_subspaces, tier.rank or width
            if coded > width:
                raise ValueError(
                    f"`rank` must be at most the width of {path}. "
                    f"Received: rank={coded}, width={width}"
                )
            if codes and tier.quantizer != "residual" and coded % codes:
                raise ValueError(
                    f"`num_subspaces` must divide the width of {path}, or the "
                    f"rank. Received: num_subspaces={codes}, width={coded}"
                )

    def describe(self, rows: int) -> str:
        words = self._codes()
        if self.heads:
            tiers = self.tiers(rows)
            words = in_tiers((n, tier._codes()) for n, tier in tiers)
        if self.private_rows and self.private_rows < rows:
            words += f", {rows - self.private_rows:,} rare rows share"
        return words

    def _codes(self) -> str:
        if self.exact:
            return "exact"
        kind = "" if self.quantizer == "product" else self.quantizer + " "
        kind = kind if self.rank is None else f"rank-{self.rank} {kind}"
        return (
            f"{self.num_subspaces} x {self.codebook_size} {kind}codes, "
            f"{self.codebook_dtype}"
        )


LEAVE = TableSettings(num_subspaces=0)
