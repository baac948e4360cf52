"""What to compress, and how far."""

import dataclasses
import fnmatch
from collections.abc import Mapping

from mec_tf.compression.methods import METHODS, Method, method_of
from mec_tf.compression.settings import DenseSettings, Settings


@dataclasses.dataclass(frozen=True)
class CompressionPolicy:
    """How far to compress a model, and by what settings.

    Give `ratio` or `max_bytes`; both count every table that is found, also
    those left as they are. Without either, it is as far as is usual for the
    method (a ratio of 50 with codes), unless `tables` says it for every table.

    Args:
        ratio: float32 bytes of all tables / bytes after, above 1.
        max_bytes: bytes of all tables after.
        method: what tables become, one of `mec_tf.compression.METHODS`:
            "mec" (default), codes learned by quantization-aware training;
            "kmeans", codes without training; "alpt" and "lpt", rows of 8, 4
            or 2 bits, trained as such, with learned or fixed step sizes;
            "int8" and "int4", such rows without training; "low_rank";
            "prune", only the popular rows; "hash" and "quotient_remainder",
            shared rows, trained anew.
        tables: settings for tables by name or `*` pattern of their path, the
            first match counts; `TableSettings(0)` leaves a table alone.
            These always win, also over the method; the rest is planned in
            what they leave.
        dense: how to compress dense layers too; they do not count in the
            ratio. Default: not at all.
        start: "warm" (default) starts from the trained tables and weights;
            "cold" trains anew with the quantizers on.
        commitment_weight: of the loss that draws rows to their codes, as are
            the next four of the quantization-aware training; see
            `ProductQuantizedEmbedding`. Default None: what the codes cost in
            loss over how far they move rows, measured before training (see
            `mec_tf.compression.matched_commitment`); 0.1 for a cold start.
        pwr_weight: of the popularity-weighted regularization. Default 0.
        contrastive_weight: of the contrastive loss. Default 0.
        num_negatives: of the contrastive loss, for each row. Default 1.
        temperature: of the contrastive loss. Default 1.
        seed: of what is random.

    Raises:
        ValueError: if an argument is out of its range.

    Example:
        >>> CompressionPolicy(ratio=100, tables={"*user*": TableSettings(2)})
        CompressionPolicy(ratio=100, ...)
    """

    ratio: float | None = None
    max_bytes: int | None = None
    method: str = "mec"
    tables: Mapping[str, Settings] = dataclasses.field(default_factory=dict)
    dense: DenseSettings | None = None
    start: str = "warm"
    commitment_weight: float | None = None
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
        if self.method not in METHODS:
            raise ValueError(
                f"`method` must be one of {', '.join(METHODS)}. "
                f"Received: method={self.method!r}"
            )
        if self.start not in ("warm", "cold"):
            raise ValueError(
                '`start` must be "warm" or "cold". '
                f"Received: start={self.start!r}"
            )
        if self.start == "cold" and not METHODS[self.method].trains:
            raise ValueError(
                '`start` must be "warm" for a method that trains nothing. '
                f"Received: start='cold', method={self.method!r}"
            )
        if self.dense is not None and self.anew:
            raise ValueError(
                "`dense` needs a training that goes on from the model's "
                f"weights. Received: start={self.start!r}, "
                f"method={self.method!r}"
            )
        for pattern, settings in self.tables.items():
            if not isinstance(settings, Settings):
                raise ValueError(
                    "`tables` must map patterns to `TableSettings` or those "
                    "of another method. "
                    f"Received for {pattern!r}: {settings!r}"
                )
            if self.method_for(settings).from_scratch and not self.anew:
                raise ValueError(
                    '`start` must be "cold" for tables that start anew. '
                    f"Received: start='warm', tables {pattern!r}: {settings!r}"
                )

    @property
    def anew(self) -> bool:
        """Whether nothing goes on from the trained model's weights."""
        return self.start == "cold" or METHODS[self.method].from_scratch

    @property
    def asked(self) -> str:
        """What is asked for, in words."""
        if self.max_bytes is not None:
            return f"max_bytes={self.max_bytes}"
        if self.ratio is not None:
            return f"ratio={self.ratio:g}"
        ratio = METHODS[self.method].default_ratio
        return (
            f"method={self.method!r}" if ratio is None else f"ratio={ratio:g}"
        )

    @property
    def bounded(self) -> bool:
        """Whether a ratio or a number of bytes is to be met."""
        return self.has_budget or METHODS[self.method].default_ratio is not None

    @property
    def has_budget(self) -> bool:
        """Whether a ratio or a number of bytes was given."""
        return self.ratio is not None or self.max_bytes is not None

    def budget(self, full_bytes: int) -> int:
        """Bytes that all tables may take, of `full_bytes` before."""
        if self.max_bytes is not None:
            return self.max_bytes
        ratio = self.ratio or METHODS[self.method].default_ratio
        return full_bytes if ratio is None else int(full_bytes / ratio)

    def explicit(self, path: str) -> Settings | None:
        """The settings given for a table, if any."""
        for pattern, settings in self.tables.items():
            if fnmatch.fnmatchcase(path, pattern):
                return settings
        return None

    def method_for(self, settings: Settings) -> Method:
        """The method that a table of these settings is learned by."""
        return method_of(settings, self.method)
