"""What a compression did."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from mec_tf.compression.dense_report import DenseReport
from mec_tf.compression.plan import table_of_bytes


@dataclasses.dataclass(frozen=True)
class TableReport:
    """One table: its bytes before and after, or why it was left alone.

    Args:
        path: where it is in the model.
        rows: its number of rows.
        dim: width of a row.
        bytes_before: its size as float32.
        bytes_after: its size now.
        how: what became of it, in words.
        code_perplexity: effective number of codes in use, or None where it
            has no codes.
        alone: how scores change where only this table is compressed, by
            name, where that was measured.
        distortion: distance from its full-precision rows by popularity, see
            `row_distortion`; None where it was left alone or trained anew.
    """

    path: str
    rows: int
    dim: int
    bytes_before: int
    bytes_after: int
    how: str
    code_perplexity: float | None = None
    alone: Mapping[str, float] | None = None
    distortion: Mapping[str, float] | None = None


@dataclasses.dataclass(frozen=True)
class CompressionReport:
    """What `compress` did to each table. Print it to read it.

    Args:
        tables: one `TableReport` a table.
        score: `(name, before training, after)` of the monitored value on
            validation data, or None.
        seconds: time that compressing took.
        dense: the dense layers, where they were compressed too.
        commitment_weight: of quantized tables in training, as given or
            measured; None where it was not needed.
    """

    tables: tuple[TableReport, ...]
    score: tuple[str, float, float] | None
    seconds: float
    dense: tuple[DenseReport, ...] = ()
    commitment_weight: float | None = None

    @property
    def bytes_before(self) -> int:
        return sum(table.bytes_before for table in self.tables)

    @property
    def bytes_after(self) -> int:
        return sum(table.bytes_after for table in self.tables)

    @property
    def ratio(self) -> float:
        """float32 bytes of all tables / bytes after."""
        return self.bytes_before / self.bytes_after

    def with_table_losses(
        self, losses: Mapping[str, Mapping[str, float]]
    ) -> "CompressionReport":
        """The same report with what `table_losses` measured."""
        tables = tuple(
            dataclasses.replace(table, alone=losses.get(table.path))
            for table in self.tables
        )
        return dataclasses.replace(self, tables=tables)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return {
            "bytes_before": self.bytes_before,
            "bytes_after": self.bytes_after,
            "ratio": self.ratio,
            "seconds": self.seconds,
            "score": self.score,
            "commitment_weight": self.commitment_weight,
            "tables": [dataclasses.asdict(table) for table in self.tables],
            "dense": [
                {
                    **dataclasses.asdict(layer),
                    "bytes_before": layer.bytes_before,
                    "bytes_after": layer.bytes_after,
                }
                for layer in self.dense
            ],
        }

    def __str__(self) -> str:
        lines = [
            table_of_bytes(
                (t.path, t.rows, t.dim, t.bytes_before, t.bytes_after, t.how)
                for t in self.tables
            )
        ]
        lines += [str(layer) for layer in self.dense]
        if self.score is not None:
            name, before, after = self.score
            lines.append(f"{name}: {before:.4f} before, {after:.4f} after")
        for table in self.tables:
            if table.alone:
                changes = ", ".join(
                    f"{name} {change:+.4f}"
                    for name, change in table.alone.items()
                )
                lines.append(f"{table.path} compressed alone: {changes}")
        return "\n".join(lines)
