"""Settings for every table of a model, under a byte budget."""

import dataclasses
from collections.abc import Mapping

import numpy as np

from mec_tf.compression.policy import (
    LEAVE,
    CompressionPolicy,
    TableSettings,
)
from mec_tf.compression.tables import Table

# Ever richer settings, codes a row and codes a codebook. The richest that
# fits the budget is taken for all tables alike.
LADDER = (
    (1, 16), (1, 64), (1, 256),
    (2, 64), (2, 128), (2, 256),
    (4, 128), (4, 256), (8, 256), (10, 256), (20, 256),
)  # fmt: skip
# Rows seen less often than this share one row, if nothing else fits.
SHARING = (1, 2, 3, 5, 10, 20, 50, 100)


@dataclasses.dataclass(frozen=True)
class PlannedTable:
    """One table of a plan: where it is, what it becomes, what that takes."""

    path: str
    rows: int
    dim: int
    settings: TableSettings
    bytes_before: int
    bytes_after: int
    reason: str = ""


@dataclasses.dataclass(frozen=True)
class CompressionPlan:
    """What `compress` will do to each table. Print it to read it."""

    tables: tuple[PlannedTable, ...]

    @property
    def bytes_before(self) -> int:
        return sum(table.bytes_before for table in self.tables)

    @property
    def bytes_after(self) -> int:
        return sum(table.bytes_after for table in self.tables)

    @property
    def ratio(self) -> float:
        return self.bytes_before / self.bytes_after

    def __getitem__(self, path: str) -> PlannedTable:
        return next(table for table in self.tables if table.path == path)

    def __str__(self) -> str:
        rows = [
            (
                table.path,
                f"{table.rows:,}",
                str(table.dim),
                f"{table.bytes_before:,}",
                f"{table.bytes_after:,}",
                table.reason or describe(table),
            )
            for table in self.tables
        ]
        total = (
            "all tables", "", "", f"{self.bytes_before:,}",
            f"{self.bytes_after:,}", f"{self.ratio:.1f}x",
        )  # fmt: skip
        head = ("table", "rows", "dim", "bytes before", "after", "how")
        return text_table([head, *rows, total])


def describe(table: PlannedTable) -> str:
    """The settings of a quantized table, in words."""
    settings = table.settings
    words = (
        f"{settings.num_subspaces} x {settings.codebook_size} codes, "
        f"{settings.codebook_dtype}"
    )
    if settings.private_rows and settings.private_rows < table.rows:
        words += f", {table.rows - settings.private_rows:,} rare rows share"
    return words


def text_table(rows: list[tuple[str, ...]]) -> str:
    """Columns padded to their widest cell, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [
            cell.rjust(width) if 0 < place < len(row) - 1 else cell.ljust(width)
            for place, (cell, width) in enumerate(
                zip(row, widths, strict=True)
            )
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def make_plan(
    tables: list[Table],
    policy: CompressionPolicy,
    counts: Mapping[str, np.ndarray],
) -> CompressionPlan:
    """Plans every table.

    Explicit settings win. Of the rest, all tables get the richest settings
    of one ladder that fit the budget; a table that its codebooks would make
    larger stays as it is, and what the budget leaves over keeps the smallest
    tables as they are. Where not even the poorest fit, rows seen once,
    then twice and so on share row 0, in tables whose ids are ordered by
    popularity with row 0 for unknown ids.

    Args:
        tables: the model's tables.
        policy: what to reach.
        counts: training counts by table path.

    Raises:
        ValueError: if the budget cannot be met, with the least it takes, or
            if explicit settings do not fit their table.
    """
    for table in tables:
        _check_explicit(table, policy.explicit(table.path))
    budget = policy.budget(sum(table.full_bytes for table in tables))
    poorest = None
    for min_count in SHARING:
        plans = [
            CompressionPlan(
                tuple(
                    _plan_table(
                        table,
                        policy.explicit(table.path),
                        rung,
                        counts[table.path],
                        min_count,
                    )
                    for table in tables
                )
            )
            for rung in LADDER
        ]
        fitting = [plan for plan in plans if plan.bytes_after <= budget]
        if fitting:
            return _keep_small(fitting[-1], policy, budget)
        poorest = min(plans, key=lambda plan: plan.bytes_after)
    asked = (
        f"max_bytes={policy.max_bytes}"
        if policy.max_bytes is not None
        else f"ratio={policy.ratio or 50.0}"
    )
    raise ValueError(
        "`policy` asks for more than these tables give: at best "
        f"{poorest.bytes_after:,} of {poorest.bytes_before:,} bytes, ratio "
        f"{poorest.ratio:.1f}. Received: {asked}"
    )


def _keep_small(
    plan: CompressionPlan, policy: CompressionPolicy, budget: int
) -> CompressionPlan:
    """Leaves the smallest tables as they are while the budget allows it."""
    tables = list(plan.tables)
    spare = budget - plan.bytes_after
    for place in sorted(range(len(tables)), key=lambda i: tables[i].rows):
        table = tables[place]
        extra = table.bytes_before - table.bytes_after
        if policy.explicit(table.path) or not table.settings.num_subspaces:
            continue
        if extra > spare:
            break
        spare -= extra
        tables[place] = dataclasses.replace(
            table,
            settings=LEAVE,
            bytes_after=table.bytes_before,
            reason="left alone: small, and the budget allows it",
        )
    return CompressionPlan(tuple(tables))


def _check_explicit(table: Table, settings: TableSettings | None) -> None:
    if settings is None or not settings.num_subspaces:
        return
    width = table.dim - table.additive_dim
    if width % settings.num_subspaces:
        raise ValueError(
            f"`num_subspaces` must divide the width of {table.path}. "
            f"Received: num_subspaces={settings.num_subspaces}, "
            f"width={width}"
        )


def _plan_table(
    table: Table,
    explicit: TableSettings | None,
    rung: tuple[int, int],
    counts: np.ndarray,
    min_count: int,
) -> PlannedTable:
    settings, reason = explicit, ""
    if settings is None:
        settings = _fitted(table, rung, counts, min_count)
    if not settings.num_subspaces:
        reason = "left alone: the policy says so"
    after = settings.stored_bytes(table.rows, table.dim, table.additive_dim)
    if explicit is None and after >= table.full_bytes:
        settings, after = LEAVE, table.full_bytes
        reason = "left alone: smaller than its codebooks"
    return PlannedTable(
        table.path,
        table.rows,
        table.dim,
        settings,
        table.full_bytes,
        after,
        reason,
    )


def _fitted(
    table: Table, rung: tuple[int, int], counts: np.ndarray, min_count: int
) -> TableSettings:
    """A rung of the ladder, cut to what the table can use."""
    width = table.dim - table.additive_dim
    num_subspaces = max(m for m in range(1, rung[0] + 1) if width % m == 0)
    private = _private_rows(counts, min_count)
    # A codebook with few rows a code only copies them.
    most = max(16, 2 ** int(np.log2(max(private or table.rows, 4) / 4)))
    return TableSettings(
        num_subspaces, min(rung[1], most, 256), private_rows=private
    )


def _private_rows(counts: np.ndarray, min_count: int) -> int | None:
    """Rows seen `min_count` times or more, if the rest can share row 0."""
    rest = counts[1:]
    ordered = len(rest) and (rest[:-1] >= rest[1:]).all()
    unknown_first = len(rest) and counts[0] <= rest[0]
    if min_count == 1 or not ordered or not unknown_first:
        return None
    private = 1 + int(np.searchsorted(-rest, -min_count, side="right"))
    return private if private < len(counts) else None
