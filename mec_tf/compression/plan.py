"""Settings for every table of a model, under a byte budget."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from tqdm import tqdm

from mec_tf.compression.candidates import candidates, measured
from mec_tf.compression.counting import in_tiers
from mec_tf.compression.policy import CompressionPolicy, TableSettings
from mec_tf.compression.tables import Table, own_call


@dataclasses.dataclass(frozen=True)
class PlannedTable:
    """One table of a plan: where it is, what it becomes, what that takes.

    Args:
        path: where it is in the model.
        rows, dim: its shape.
        settings: what it becomes.
        bytes_before, bytes_after: its size.
        error: measured squared error, summed over the lookups of the
            training data; 0 where it is not measured.
        reason: why it is left alone, or "".
    """

    path: str
    rows: int
    dim: int
    settings: TableSettings
    bytes_before: int
    bytes_after: int
    error: float = 0.0
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
        return table_of_bytes(
            (t.path, t.rows, t.dim, t.bytes_before, t.bytes_after, describe(t))
            for t in self.tables
        )


def describe(table: PlannedTable) -> str:
    """What happens to a table, in words."""
    if table.reason:
        return table.reason
    settings = table.settings
    words = _codes(settings)
    if settings.heads:
        tiers = settings.tiers(table.rows)
        words = in_tiers((rows, _codes(tier)) for rows, tier in tiers)
    if settings.private_rows and settings.private_rows < table.rows:
        words += f", {table.rows - settings.private_rows:,} rare rows share"
    return words


def _codes(settings: TableSettings) -> str:
    if not settings.num_subspaces:
        return "exact"
    kind = "" if settings.quantizer == "product" else settings.quantizer + " "
    return (
        f"{settings.num_subspaces} x {settings.codebook_size} {kind}codes, "
        f"{settings.codebook_dtype}"
    )


def table_of_bytes(
    rows: Iterable[tuple[str, int, int, int, int, str]],
) -> str:
    """Text table of (path, rows, dim, bytes before, after, how) and totals."""
    rows = list(rows)
    before = sum(row[3] for row in rows)
    after = sum(row[4] for row in rows)
    cells = [("table", "rows", "dim", "bytes before", "after", "how")]
    cells += [
        (path, f"{n:,}", str(dim), f"{full:,}", f"{now:,}", how)
        for path, n, dim, full, now, how in rows
    ]
    ratio = f"{before / after:.1f}x" if after else ""
    cells.append(("all tables", "", "", f"{before:,}", f"{after:,}", ratio))
    return text_table(cells)


def text_table(rows: Sequence[Sequence[str]]) -> str:
    """Columns padded to their widest cell, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [
            cell.rjust(width) if 0 < place < len(row) - 1 else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def make_plan(
    tables: list[Table],
    policy: CompressionPolicy,
    counts: Mapping[str, np.ndarray],
    *,
    progress: bool = False,
) -> CompressionPlan:
    """Plans every table.

    Explicit settings win. For each other table the squared error of several
    settings is measured on its rows, weighted by how often they are looked
    up; then, from the smallest settings on, the step that takes the most
    error away a byte is taken until the budget is spent. In tables whose ids
    are ordered by popularity, the rows that make up half or most of the
    lookups may have more bits than the rest. Where the budget cannot be met
    otherwise, rare rows may share row 0 there, if it is for unknown ids.

    Args:
        tables: the model's tables.
        policy: what to reach.
        counts: training counts by table path.
        progress: whether to show a progress bar.

    Raises:
        ValueError: if the budget cannot be met, with the least it takes, or
            if explicit settings do not fit their table.
    """
    sharing = check_budget(tables, policy, counts)
    options = [
        _options(table, policy, counts[table.path], sharing)
        for table in tqdm(tables, desc="Measuring tables", disable=not progress)
    ]
    budget = policy.budget(sum(table.full_bytes for table in tables))
    return _spend(options, budget)


def check_budget(
    tables: list[Table],
    policy: CompressionPolicy,
    counts: Mapping[str, np.ndarray],
) -> bool:
    """Whether rare rows must share row 0 to meet the budget.

    Looks at sizes only; tables need not be trained.

    Args:
        tables: the model's tables.
        policy: what to reach.
        counts: training counts by table path.

    Raises:
        ValueError: if the budget cannot be met either way, with the least it
            takes, or if explicit settings do not fit their table.
    """
    for table in tables:
        _check_explicit(table, policy.explicit(table.path))
    full = sum(table.full_bytes for table in tables)
    for sharing in (False, True):
        least = sum(
            min(
                settings.stored_bytes(table.rows, table.dim, table.additive_dim)
                for settings in candidates(
                    table, policy, counts[table.path], sharing
                )
            )
            for table in tables
        )
        if least <= policy.budget(full):
            return sharing
    raise ValueError(
        "`policy` asks for more than these tables give: at best "
        f"{least:,} of {full:,} bytes, ratio {full / least:.1f}. "
        f"Received: {_asked(policy)}"
    )


def _spend(options: list[list[PlannedTable]], budget: int) -> CompressionPlan:
    """Takes the steps that save the most error a byte, while they fit."""
    chosen = [steps[0] for steps in options]
    spare = budget - sum(option.bytes_after for option in chosen)
    while True:
        fitting = [
            (_gain(chosen[i], option), -i, option)
            for i, steps in enumerate(options)
            for option in steps
            if option.error < chosen[i].error
            and 0 < option.bytes_after - chosen[i].bytes_after <= spare
        ]
        if not fitting:
            return CompressionPlan(tuple(chosen))
        _, place, option = max(fitting, key=lambda step: step[:2])
        spare -= option.bytes_after - chosen[-place].bytes_after
        chosen[-place] = option


def _asked(policy: CompressionPolicy) -> str:
    if policy.max_bytes is not None:
        return f"max_bytes={policy.max_bytes}"
    return f"ratio={policy.ratio or 50.0:g}"


def _gain(now: PlannedTable, then: PlannedTable) -> float:
    extra = max(then.bytes_after - now.bytes_after, 1)
    return (now.error - then.error) / extra


def _check_explicit(table: Table, settings: TableSettings | None) -> None:
    if settings is None or not settings.num_subspaces:
        return
    width = table.dim - table.additive_dim
    *_, (rest, _) = tiers = settings.tiers(table.rows)
    if settings.heads and rest < 1:
        raise ValueError(
            f"`heads` must leave rows of the "
            f"{settings.private_rows or table.rows} of {table.path}. "
            f"Received: heads={settings.heads}"
        )
    for _, tier in tiers:
        codes = tier.num_subspaces
        if codes and tier.quantizer != "residual" and width % codes:
            raise ValueError(
                f"`num_subspaces` must divide the width of {table.path}. "
                f"Received: num_subspaces={codes}, width={width}"
            )


def _options(
    table: Table,
    policy: CompressionPolicy,
    counts: np.ndarray,
    sharing: bool,
) -> list[PlannedTable]:
    """Settings of a table, each larger and more exact than the one before."""
    found = measured(table, policy, counts, sharing)
    reason = own_call(table.layer) or "left alone: " + (
        "policy" if policy.explicit(table.path) else "small or important"
    )
    return [
        _planned(
            table, settings, error, "" if settings.num_subspaces else reason
        )
        for settings, error in found
    ]


def _planned(
    table: Table, settings: TableSettings, error: float, reason: str = ""
) -> PlannedTable:
    return PlannedTable(
        table.path,
        table.rows,
        table.dim,
        settings,
        table.full_bytes,
        settings.stored_bytes(table.rows, table.dim, table.additive_dim),
        error,
        reason,
    )
