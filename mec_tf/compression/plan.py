"""Settings for every table of a model, under a byte budget."""

import dataclasses
import functools
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from tqdm import tqdm

from mec_tf.compression.distortion import exact, quantized_errors, shared_error
from mec_tf.compression.policy import (
    LEAVE,
    CompressionPolicy,
    TableSettings,
)
from mec_tf.compression.tables import Table, own_call

# Quantizer, codes a row and codes a codebook that the planner may choose.
CHOICES = (
    ("product", 1, 4), ("product", 1, 16), ("product", 1, 64),
    ("product", 1, 256), ("product", 2, 16), ("product", 2, 64),
    ("product", 2, 256), ("product", 4, 16), ("product", 4, 64),
    ("product", 4, 256), ("product", 5, 256), ("product", 8, 256),
    ("product", 10, 256), ("product", 16, 256), ("product", 20, 256),
    ("residual", 2, 16), ("residual", 2, 64), ("residual", 2, 256),
    ("residual", 3, 64), ("residual", 4, 64), ("residual", 4, 256),
)  # fmt: skip
# Rows seen less often than one of these may share a row.
MIN_COUNTS = (1, 2, 3, 5, 10, 30, 100)


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
    kind = "" if settings.quantizer == "product" else settings.quantizer + " "
    words = (
        f"{settings.num_subspaces} x {settings.codebook_size} {kind}codes, "
        f"{settings.codebook_dtype}"
    )
    if settings.private_rows and settings.private_rows < table.rows:
        words += f", {table.rows - settings.private_rows:,} rare rows share"
    return words


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
    error away a byte is taken until the budget is spent. Where that cannot
    be met otherwise, rare rows may share row 0, in tables whose ids are
    ordered by popularity behind a row 0 for unknown ids.

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
                for settings in _candidates(
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
    if settings.quantizer != "residual" and width % settings.num_subspaces:
        raise ValueError(
            f"`num_subspaces` must divide the width of {table.path}. "
            f"Received: num_subspaces={settings.num_subspaces}, "
            f"width={width}"
        )


def _candidates(
    table: Table,
    policy: CompressionPolicy,
    counts: np.ndarray,
    sharing: bool,
) -> list[TableSettings]:
    """Settings that a table may get; `LEAVE` is one unless others are given."""
    if own_call(table.layer):
        return [LEAVE]
    explicit = policy.explicit(table.path)
    if explicit is not None:
        return [explicit]
    # With masking, row 0 is padding, which nothing may share.
    sharing = sharing and not getattr(table.layer, "mask_zero", False)
    return [LEAVE] + [
        TableSettings(codes, size, private_rows=private, quantizer=quantizer)
        for quantizer, codes, size in CHOICES
        for private in (_private_rows(counts) if sharing else [None])
        if (
            quantizer == "residual"
            or (table.dim - table.additive_dim) % codes == 0
        )
        and size <= (private or table.rows) / 2
    ]


def _options(
    table: Table,
    policy: CompressionPolicy,
    counts: np.ndarray,
    sharing: bool,
) -> list[PlannedTable]:
    """Settings of a table, each larger and more exact than the one before."""
    candidates = _candidates(table, policy, counts, sharing)
    if len(candidates) == 1:
        reason = own_call(table.layer) or "left alone: policy"
        coded = candidates[0].num_subspaces
        return [_planned(table, candidates[0], 0.0, "" if coded else reason)]
    values = exact(table.values(), counts, table.dim - table.additive_dim)
    measure = functools.cache(
        functools.partial(quantized_errors, values, seed=policy.seed)
    )
    found = [_planned(table, LEAVE, 0.0, "left alone: small or important")]
    for settings in candidates[1:]:
        private = settings.private_rows
        places, errors = measure(
            settings.quantizer,
            settings.num_subspaces,
            settings.codebook_size,
        )
        kept = float(errors[places < (private or table.rows)].sum())
        error = kept + shared_error(values, private)
        found.append(_planned(table, settings, error))
    found.sort(key=lambda option: (option.bytes_after, option.error))
    steps = found[:1]
    for option in found[1:]:
        if option.error < steps[-1].error:
            steps.append(option)
    return steps


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


def _private_rows(counts: np.ndarray) -> list[int | None]:
    """Numbers of rows that may keep codes of their own; None for all."""
    rest = counts[1:]
    ordered = len(rest) > 0 and (rest[:-1] >= rest[1:]).all()
    if not ordered or counts[0] > rest[0]:
        return [None]
    kept = [
        1 + int(np.searchsorted(-rest, -least, side="right"))
        for least in MIN_COUNTS
    ]
    return [None, *sorted({k for k in kept if 1 < k < len(counts)})]
