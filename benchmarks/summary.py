"""Statistics, table and picture of the quality benchmark's rows."""

import dataclasses
import pathlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from scipy import stats

RESAMPLES = 10_000
WILCOXON_SEEDS = 6

Row = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Paired:
    """Differences paired by seed: mean, spread, 95% interval, p-value.

    The interval is a percentile bootstrap of the mean; the p-value is that of
    the two-sided Wilcoxon signed-rank test, from six seeds on.
    """

    mean: float
    sd: float
    low: float | None
    high: float | None
    p: float | None


def paired(differences: Sequence[float]) -> Paired:
    """Statistics of differences paired by seed."""
    values = np.asarray(differences, np.float64)
    if len(values) < 2:
        return Paired(float(values.mean()), 0.0, None, None, None)
    rng = np.random.default_rng(0)
    drawn = rng.choice(values, (RESAMPLES, len(values))).mean(axis=1)
    low, high = np.percentile(drawn, [2.5, 97.5])
    p = None
    if len(values) >= WILCOXON_SEEDS:
        p = float(stats.wilcoxon(values).pvalue) if values.any() else 1.0
    mean, sd = float(values.mean()), float(values.std(ddof=1))
    return Paired(mean, sd, float(low), float(high), p)


def auc_gap(pairs: Iterable[tuple[Row, Row]]) -> Paired:
    """Statistics of AUC less full precision's, of pairs of `groups`."""
    return paired([row["auc"] - full["auc"] for full, row in pairs])


def table(rows: Iterable[Row]) -> str:
    """A Markdown table of paired differences to full precision."""
    lines = [
        "| data | backbone | method | ratio | AUC full | AUC | difference "
        "(mean ± sd) | 95% interval | Wilcoxon p | log-loss difference "
        "| calibration error, full / method | seeds |",
        "|---" * 12 + "|",
    ]
    for (dataset, backbone, method, _), pairs in groups(rows).items():
        gap = auc_gap(pairs)
        loss = mean(row["log_loss"] - full["log_loss"] for full, row in pairs)
        interval, p = "", ""
        if gap.low is not None:
            interval = f"{gap.low:+.4f} to {gap.high:+.4f}"
        if gap.p is not None:
            p = f"{gap.p:.3f}"
        lines.append(
            f"| {dataset} | {backbone} | {method} "
            f"| {min(row['ratio'] for _, row in pairs):.1f} "
            f"| {mean(full['auc'] for full, _ in pairs):.4f} "
            f"| {mean(row['auc'] for _, row in pairs):.4f} "
            f"| {gap.mean:+.4f} ± {gap.sd:.4f} | {interval} | {p} "
            f"| {loss:+.4f} "
            f"| {mean(f['calibration_error'] for f, _ in pairs):.3f} / "
            f"{mean(r['calibration_error'] for _, r in pairs):.3f} "
            f"| {len(pairs)} |"
        )
    return "\n".join(lines)


def costs(rows: Iterable[Row]) -> str:
    """A Markdown table of what each method takes and what it gives.

    Times are ratios to full precision's, medians over the seeds whose forward
    pass was timed; of training without the first of them, which is the one
    that tunes, where there are others. Without a timed seed there is no line.
    """
    lines = [
        "| data | backbone | method | AUC - full (mean ± sd) "
        "| tables smaller | whole model smaller | training / full "
        "| inference / full | seeds |",
        "|---" * 9 + "|",
    ]
    for (dataset, backbone, method, _), pairs in groups(rows).items():
        timed = [pair for pair in pairs if "inference_ratio" in pair[1]]
        if not timed:
            continue
        gap = auc_gap(pairs)
        whole = min(_whole(full) / _whole(row) for full, row in pairs)
        first = min(row["seed"] for _, row in timed)
        later = [p for p in timed if p[1]["seed"] != first] or timed
        training = np.median([r["seconds"] / f["seconds"] for f, r in later])
        inference = np.median([row["inference_ratio"] for _, row in timed])
        lines.append(
            f"| {dataset} | {backbone} | {method} "
            f"| {gap.mean:+.4f} ± {gap.sd:.4f} "
            f"| {min(row['ratio'] for _, row in pairs):.1f} | {whole:.1f} "
            f"| {training:.2f} | {inference:.2f} | {len(pairs)} |"
        )
    return "\n".join(lines)


def _whole(row: Row) -> int:
    """Bytes of a whole model, as exported."""
    return row["bytes"] + row["dense_bytes"]


def draw(rows: Iterable[Row], path: str | pathlib.Path) -> None:
    """Draws AUC against bytes: a panel a data set and backbone."""
    panels: dict[tuple[str, str], list[tuple[str, list]]] = {}
    for (dataset, backbone, method, _), pairs in groups(rows).items():
        panels.setdefault((dataset, backbone), []).append((method, pairs))
    if not panels:
        return
    across = min(3, len(panels))
    down = -(-len(panels) // across)
    figure = Figure(figsize=(5 * across, 3.8 * down), layout="constrained")
    axes = figure.subplots(down, across, squeeze=False).ravel()
    for unused in axes[len(panels) :]:
        unused.remove()
    for (title, entries), place in zip(panels.items(), axes, strict=False):
        _draw_panel(place, entries)
        place.set_title(", ".join(title))
    figure.savefig(path, dpi=120)


def _draw_panel(axes: Any, entries: list[tuple[str, list]]) -> None:
    fulls = {full["seed"]: full for _, pairs in entries for full, _ in pairs}
    level = mean(full["auc"] for full in fulls.values())
    axes.axhline(level, color="0.6", linewidth=0.8)
    size = mean(full["bytes"] for full in fulls.values())
    axes.plot(size, level, "s", color="0.3", label="full precision")
    for method in dict.fromkeys(method for method, _ in entries):
        points = []
        for name, pairs in entries:
            if name == method:
                aucs = [row["auc"] for _, row in pairs]
                size = mean(row["bytes"] for _, row in pairs)
                spread = paired(aucs)
                points.append((size, spread.mean, spread.sd))
        sizes, aucs, spreads = zip(*sorted(points), strict=True)
        axes.errorbar(sizes, aucs, spreads, fmt="o-", capsize=3, label=method)
    axes.set_xscale("log")
    axes.set_xlabel("bytes of all embedding tables (log scale)")
    axes.set_ylabel("test AUC, mean ± sd")
    axes.grid(alpha=0.3)
    axes.legend(loc="best", fontsize="small")


def quality_key(row: Row) -> tuple | None:
    """What a row of the quality benchmark measures; None for other rows."""
    if row.get("study") or row["method"] == "full":
        return None
    backbone, method = row["backbone"], row["method"]
    if row.get("embedding_dim"):
        backbone += f", D={row['embedding_dim']}"
    if row.get("auxiliary"):
        method += f" from {row['auxiliary']}"
    return row["dataset"], backbone, method, row["target_ratio"]


def groups(
    rows: Iterable[Row], key: Callable[[Row], tuple | None] = quality_key
) -> dict[tuple, list[tuple[Row, Row]]]:
    """Pairs (full precision, method) of the same seed, by what they measure.

    Of rows of the same seed, from several files, the last counts.
    """
    rows = list(rows)
    full = {_model(row): row for row in rows if row["method"] == "full"}
    found: dict[tuple, dict[int, tuple[Row, Row]]] = {}
    for row in rows:
        pair = full.get(_model(row))
        name = key(row)
        if name is not None and pair is not None:
            found.setdefault(name, {})[row["seed"]] = (pair, row)
    return {name: list(pairs.values()) for name, pairs in found.items()}


def _model(row: Row) -> tuple:
    """What a row shares with the full-precision row that it is paired with."""
    width = row.get("embedding_dim", 0)
    return row["dataset"], row["backbone"], width, row["seed"]


def mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))
