"""What to compress, and how far."""

import dataclasses
import fnmatch
from collections.abc import Mapping

from mec_tf.layers.code_lookup_embedding import QUANTIZERS
from mec_tf.quantizers import packing


@dataclasses.dataclass(frozen=True)
class TableSettings:
    """How one table is stored.

    Args:
        num_subspaces: `M`, codes a row. 0 leaves the table as it is.
        codebook_size: `K`, entries a codebook. Default 256.
        codebook_dtype: "float16" (default) or "float32".
        private_rows: rows with codes of their own; later rows share row 0.
            None (default): all.
        quantizer: "product" (default); "rotated", product quantization of
            rotated rows; or "residual", sums of `M` entries.
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
        entry = dim
        if self.quantizer != "residual":
            entry = split // self.num_subspaces + additive_dim
        floats = self.num_subspaces * self.codebook_size * entry
        if self.quantizer == "rotated":
            floats += split * split
        codes = packing.codes_bytes(
            self.private_rows or rows,
            self.num_subspaces,
            self.codebook_size,
            self.bit_packed,
        )
        return codes + floats * (2 if self.codebook_dtype == "float16" else 4)


LEAVE = TableSettings(num_subspaces=0)


@dataclasses.dataclass(frozen=True)
class CompressionPolicy:
    """How far to compress a model, and by what settings.

    Give `ratio` or `max_bytes`; both count every table that is found, also
    those left as they are. Without either, the ratio is 50.

    Args:
        ratio: float32 bytes of all tables / bytes after, above 1.
        max_bytes: bytes of all tables after.
        tables: settings for tables by name or `*` pattern of their path, the
            first match counts; `TableSettings(0)` leaves a table alone.
            These always win; the rest is planned in what they leave.
        start: "warm" (default) starts from the trained tables and weights;
            "cold" trains anew with the quantizers on.
        commitment_weight, pwr_weight, contrastive_weight, num_negatives,
            temperature: of the quantization-aware training; see
            `ProductQuantizedEmbedding`.
        seed: of k-means.

    Raises:
        ValueError: if an argument is out of its range.

    Example:
        >>> CompressionPolicy(ratio=100, tables={"*user*": TableSettings(2)})
        CompressionPolicy(ratio=100, ...)
    """

    ratio: float | None = None
    max_bytes: int | None = None
    tables: Mapping[str, TableSettings] = dataclasses.field(
        default_factory=dict
    )
    start: str = "warm"
    commitment_weight: float = 0.1
    pwr_weight: float = 0.0
    contrastive_weight: float = 0.0
    num_negatives: int = 1
    temperature: float = 1.0
    seed: int = 0

    def __post_init__(self):
        if self.ratio is not None and self.max_bytes is not None:
            raise ValueError(
                "`ratio` and `max_bytes` cannot both be given. Received: "
                f"ratio={self.ratio}, max_bytes={self.max_bytes}"
            )
        if self.ratio is not None and not self.ratio > 1:
            raise ValueError(
                f"`ratio` must be above 1. Received: ratio={self.ratio}"
            )
        if self.max_bytes is not None and not self.max_bytes > 0:
            raise ValueError(
                "`max_bytes` must be positive. "
                f"Received: max_bytes={self.max_bytes}"
            )
        if self.start not in ("warm", "cold"):
            raise ValueError(
                '`start` must be "warm" or "cold". '
                f"Received: start={self.start!r}"
            )
        for pattern, settings in self.tables.items():
            if not isinstance(settings, TableSettings):
                raise ValueError(
                    "`tables` must map patterns to `TableSettings`. "
                    f"Received for {pattern!r}: {settings!r}"
                )

    def budget(self, full_bytes: int) -> int:
        """Bytes that all tables may take, of `full_bytes` before."""
        if self.max_bytes is not None:
            return self.max_bytes
        return int(full_bytes / (self.ratio or 50.0))

    def explicit(self, path: str) -> TableSettings | None:
        """The settings given for a table, if any."""
        for pattern, settings in self.tables.items():
            if fnmatch.fnmatchcase(path, pattern):
                return settings
        return None
