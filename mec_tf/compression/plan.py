"""Settings for every table of a model, under a byte budget."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

import numpy as np
from tqdm import tqdm

from mec_tf.compression.methods import METHODS
from mec_tf.compression.methods.method import Measured
from mec_tf.compression.policy import CompressionPolicy
from mec_tf.compression.settings import LEAVE, Settings
from mec_tf.compression.tables import Table, own_call

# Settings and their errors, by path.
Measurements: TypeAlias = dict[str, list[Measured]]


@dataclasses.dataclass(frozen=True)
class PlannedTable:
    """One table of a plan: where it is, what it becomes, what that takes.

    Args:
        path: where it is in the model.
        rows: its number of rows.
        dim: width of a row.
        settings: what it becomes.
        bytes_before: its size as float32.
        bytes_after: its planned size.
        error: measured squared error, summed over the lookups of the
            training data; 0 where it is not measured.
        reason: why it is left alone, or "".
    """

    path: str
    rows: int
    dim: int
    settings: Settings
    bytes_before: int
    bytes_after: int
    error: float = 0.0
    reason: str = ""


@dataclasses.dataclass(frozen=True)
class CompressionPlan:
    """What `compress` will do to each table. Print it to read it.

    Args:
        tables: one `PlannedTable` a table, in the model's order.
    """

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
    return table.reason or table.settings.describe(table.rows)


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
    measured: Measurements | None = None,
) -> CompressionPlan:
    """Plans every table.

    Explicit settings win. For each other table the squared error of several
    settings is measured on its rows, weighted by how often they are looked
    up; then, from the smallest settings on, the step that takes the most
    error away a byte is taken until the budget is spent. In tables whose ids
    are ordered by popularity, the rows that make up half or most of the
    lookups may have more bits than the rest, and rare rows may share row 0,
    if it is for unknown ids.

    Args:
        tables: the model's tables.
        policy: what to reach.
        counts: training counts by table path.
        progress: whether to show a progress bar.
        measured: what earlier plans of the same tables and counts, by the
            same method, measured; this one adds to it. Default: nothing.

    Raises:
        ValueError: if the budget cannot be met, with the least it takes, or
            if explicit settings do not fit their table.
    """
    measured = {} if measured is None else measured
    settled = _settled(tables, policy)
    for table in tables:
        if table.path in settled:
            settled[table.path] = settled[table.path].completed(
                table.values, table.additive_dim, counts[table.path]
            )
    settled = _in_budget(tables, policy, counts, settled)
    method = METHODS[policy.method]
    options = []
    for table in tqdm(tables, desc="Measuring tables", disable=not progress):
        found: list[Measured] = [(settled.get(table.path, LEAVE), 0.0)]
        if table.path not in settled:
            if table.path not in measured:
                measured[table.path] = method.measured(
                    table, policy, counts[table.path]
                )
            found = measured[table.path]
        options.append(
            [
                _planned(table, policy, settings, error)
                for settings, error in found
            ]
        )
    budget = policy.budget(sum(table.full_bytes for table in tables))
    return _spend(options, budget)


def check_budget(
    tables: list[Table],
    policy: CompressionPolicy,
    counts: Mapping[str, np.ndarray],
) -> dict[str, Settings]:
    """What is settled before any table's values are looked at.

    Args:
        tables: the model's tables; need not be trained.
        policy: what to reach.
        counts: training counts by table path.

    Returns:
        Settings of the tables without a choice, by path.

    Raises:
        ValueError: if the budget cannot be met, with the least it takes, or
            if explicit settings do not fit their table.
    """
    return _in_budget(tables, policy, counts, _settled(tables, policy))


def _in_budget(
    tables: list[Table],
    policy: CompressionPolicy,
    counts: Mapping[str, np.ndarray],
    settled: dict[str, Settings],
) -> dict[str, Settings]:
    """Adds what the budget alone decides; refuses one that cannot be met."""
    if not policy.has_budget and all(policy.explicit(t.path) for t in tables):
        return settled  # a method's usual ratio is for the others
    method = METHODS[policy.method]
    full = sum(table.full_bytes for table in tables)
    fixed = sum(
        settled[table.path].stored_bytes(*_shape(table))
        for table in tables
        if table.path in settled
    )
    free = [table for table in tables if table.path not in settled]
    if policy.bounded and free:
        settled.update(method.settle(free, policy.budget(full) - fixed))
        free = [table for table in free if table.path not in settled]
    least = fixed + sum(
        min(
            settings.stored_bytes(*_shape(table))
            for settings in method.candidates(table, policy, counts[table.path])
        )
        for table in free
    )
    if least <= policy.budget(full):
        return settled
    raise ValueError(
        "`policy` asks for more than these tables give: at best "
        f"{least:,} of {full:,} bytes, ratio {full / least:.1f}. "
        f"Received: {policy.asked}"
    )


def _settled(
    tables: list[Table], policy: CompressionPolicy
) -> dict[str, Settings]:
    """Tables that are left alone, or have explicit settings; checks those."""
    settled: dict[str, Settings] = {}
    for table in tables:
        explicit = policy.explicit(table.path)
        if explicit is not None:
            explicit.check(table.path, *_shape(table))
        if own_call(table.layer):
            settled[table.path] = LEAVE
        elif explicit is not None:
            settled[table.path] = explicit
    return settled


def _shape(table: Table) -> tuple[int, int, int]:
    return table.rows, table.dim, table.additive_dim


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


def _gain(now: PlannedTable, then: PlannedTable) -> float:
    extra = max(then.bytes_after - now.bytes_after, 1)
    return (now.error - then.error) / extra


def _planned(
    table: Table, policy: CompressionPolicy, settings: Settings, error: float
) -> PlannedTable:
    reason = ""
    if settings.exact:
        given = policy.explicit(table.path)
        why = "policy" if given is not None else "small or important"
        reason = own_call(table.layer) or f"left alone: {why}"
    return PlannedTable(
        table.path,
        table.rows,
        table.dim,
        settings,
        table.full_bytes,
        settings.stored_bytes(*_shape(table)),
        error,
        reason,
    )
