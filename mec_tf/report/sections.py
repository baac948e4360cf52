"""The parts of the page, each from the results of a run; "" where empty."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from mec_tf.report.blocks import meter, note, pairs, section, table
from mec_tf.report.charts import (
    Mark,
    bars,
    chart,
    counting_axis,
    linear_axis,
    log_axis,
)
from mec_tf.report.code_usage import CodeUsage, code_usages
from mec_tf.report.markup import Markup, element, joined
from mec_tf.report.run_results import RunResults
from mec_tf.report.words import (
    EQUAL,
    short_names,
    signed,
    size,
    times,
    verdict,
)
from mec_tf.training.popularity_tiers import TIERS

# The least length of an axis of AUC: shorter ones make chance look large.
AUC_SPAN = 3 * EQUAL
FILES = (
    ("serving/1", "for TensorFlow Serving"),
    ("model.keras", "the compressed model"),
    ("codes.safetensors", "its tables, for other models"),
    ("report.json", "all numbers of this page"),
    ("report.md", "the same as text"),
    ("auc_vs_bytes.png", "the first chart as a picture"),
)


def headline(results: RunResults) -> Markup:
    """Ratio, verdict, and the bytes before and after drawn to scale."""
    report = results.report
    before, after = (
        report[k]["bytes"] for k in ("full_precision", "compressed")
    )
    words, short = verdict(report)
    return element(
        "header",
        element(
            "p",
            " · ".join(report[k] for k in ("dataset", "model", "method")),
            class_="eyebrow",
        ),
        element("h1", times(report["ratio"]), element("small", " smaller")),
        element("p", words, class_="verdict short" if short else "verdict"),
        element(
            "dl",
            *_scaled("full precision", before, before, "full"),
            *_scaled("compressed", after, before, "small"),
            class_="scale",
        ),
        element(
            "p",
            "Bytes of all embedding tables, to scale: first-order weights, "
            "codebooks and tables left as they are all count.",
            class_="note",
        ),
    )  # fmt: skip


def scores(results: RunResults) -> Markup:
    """Test scores of both models."""
    full, small = (results.report[k] for k in ("full_precision", "compressed"))
    rows = []
    for key, name in (
        ("auc", "test AUC"),
        ("log_loss", "test log-loss"),
        ("calibration_error", "calibration error"),
    ):
        if key in full and key in small:
            rows.append(
                (
                    name, f"{full[key]:.4f}", f"{small[key]:.4f}",
                    signed(small[key] - full[key]),
                )
            )  # fmt: skip
    rows.append(
        (
            "tables", size(full["bytes"]), size(small["bytes"]),
            f"÷ {results.report['ratio']:.1f}",
        )
    )  # fmt: skip
    if "bytes_on_disk" in small:
        rows.append(("as exported", "", size(small["bytes_on_disk"]), ""))
    return section(
        "Before and after",
        table(("", "full precision", "compressed", "change"), rows),
        note(
            f"One run with one seed ({results.report['seed']}). Differences of "
            "a few ten-thousandths also come from chance; compare several "
            "seeds before you rely on them."
        ),
    )


def auc_against_bytes(results: RunResults) -> Markup:
    """The chart of quality against size."""
    report = results.report
    full, small = report["full_precision"], report["compressed"]
    curve = sorted(report.get("curve", []), key=lambda point: point["bytes"])
    points = [full, small, *curve]
    if not all(math.isfinite(point["auc"]) for point in points):
        return Markup()
    marks = [
        Mark(
            math.log10(small["bytes"]), small["auc"], times(report["ratio"]),
            "small",
        ),
        Mark(math.log10(full["bytes"]), full["auc"], "1×", "full"),
        *(
            Mark(
                math.log10(point["bytes"]), point["auc"],
                f"{point['ratio']:.0f}×", "other",
            )
            for point in curve
        ),
    ]  # fmt: skip
    keys = [("full", "full precision"), ("small", "this result")]
    if curve:
        keys.append(("other", "other ratios, not trained on"))
    return section(
        "AUC against bytes",
        chart(
            log_axis([point["bytes"] for point in points], size),
            linear_axis([point["auc"] for point in points], AUC_SPAN),
            marks,
            [(math.log10(p["bytes"]), p["auc"]) for p in curve],
            about="Test AUC against bytes of all tables: "
            + ", ".join(f"{m.label} {m.y:.4f}" for m in marks),
            x_name="bytes of all tables (log scale)",
            y_name="test AUC",
            band=(full["auc"] - EQUAL, full["auc"]),
            level=full["auc"],
        ),
        element(
            "ul",
            *(
                element("li", element("i", class_=f"key {kind}"), words)
                for kind, words in keys
            ),
            element(
                "li",
                element("i", class_="key band"),
                f"within {EQUAL:g} of full precision",
            ),
            class_="keys",
        ),
    )


def tables(results: RunResults) -> Markup:
    """What became of each table, and of dense layers."""
    report = results.report
    names = short_names([t["path"] for t in report["tables"]])
    total = ("all tables", "", "", *_bytes_row(*_totals(report["tables"])), "")
    parts = [
        table(
            ("table", "rows", "width", "before", "after", "ratio", "how"),
            [
                (
                    names[t["path"]], f"{t['rows']:,}", str(t["dim"]),
                    *_bytes_row(t["bytes_before"], t["bytes_after"]), t["how"],
                )
                for t in report["tables"]
            ],
            total,
            words=(0, 6),
        )
    ]  # fmt: skip
    changed = [t for t in report["tables"] if t.get("alone")]
    if changed:
        parts.append(note("Scores where only one table is compressed:"))
        keys = list(changed[0]["alone"])
        parts.append(
            table(
                ("table", *keys),
                [
                    (
                        names[t["path"]],
                        *(signed(t["alone"].get(k, math.nan)) for k in keys),
                    )
                    for t in changed
                ],
            )
        )
    dense = report.get("dense", [])
    if dense:
        parts.append(element("h3", "Dense layers"))
        parts.append(
            table(
                ("layer", "shape", "before", "after", "ratio", "how"),
                [
                    (
                        d["path"], f"{d['inputs']} × {d['units']}",
                        *_bytes_row(d["bytes_before"], d["bytes_after"]),
                        d["note"] or f"rank {d.get('rank')}",
                    )
                    for d in dense
                ],
                words=(0, 5),
            )
        )  # fmt: skip
        parts.append(note("They do not count in the ratio above."))
    return section("Tables", *parts)


def usage(results: RunResults) -> Markup:
    """How the rows of each table spread over its codes."""
    codes = results.codes
    if codes is None:
        return section(
            "Code usage",
            note(
                "codes.safetensors is not in this directory: no codes to see."
            ),
        )
    names = short_names(codes.names)
    cards = []
    for path in codes.names:
        found = code_usages(codes.table(path))
        if found:
            parts = [_usage_of(names[path], part, len(found)) for part in found]
            cards.append(
                element("li", element("h3", names[path]), *parts, class_="card")
            )
    if not cards:
        return section(
            "Code usage",
            note(
                "No table has codes: the method "
                f"{results.report['method']} stores rows in another way."
            ),
        )
    return section(
        "Code usage",
        note(
            "Bars are codes, from the most to the least used: the share of "
            "rows that have them, mean over the codes of a row. The dashed "
            "line is an equal share for all; perplexity says how many codes "
            "used equally would spread rows as far."
        ),
        element("ul", *cards, class_="cards"),
    )


def distortion(results: RunResults) -> Markup:
    """How far rows moved, by popularity."""
    measured = [t for t in results.report["tables"] if t.get("distortion")]
    if not measured:
        return Markup()
    names = short_names([t["path"] for t in results.report["tables"]])
    rows = [
        (
            names[t["path"]],
            *(meter(t["distortion"].get(tier)) for tier in TIERS),
        )
        for t in measured
    ]
    return section(
        "Distortion by popularity",
        note(
            "Squared distance of a row from the one at full precision, over "
            "that one's squared length: 0 is unchanged, at 1 a row of zeros "
            "would be as near. Each group of rows answers a third of the "
            "lookups; what training moved is part of it."
        ),
        table(("table", *TIERS), rows),
    )


def training(results: RunResults) -> Markup:
    """How score and loss went while the tables were compressed."""
    history = results.report.get("history", {})
    score = results.report.get("score")
    charts = []
    for key, values in history.items():
        name, kept = f"validation {key.removeprefix('val_')}", None
        if score and key == score[0]:
            kept = score[2]
            # The state before training may be a candidate too.
            values = [score[1], *values]
        elif key == "loss":
            name = "training loss"
        else:
            continue
        first = 1 + len(history[key]) - len(values)
        charts.append(_course(name, values, first, kept))
    if not any(charts):
        return Markup()
    meaning = (
        "The score is validation AUC, less what log-loss has risen above "
        "full precision's."
    )
    if results.report["settings"].get("distill"):
        meaning = (
            "Labels are what the full-precision model answers; the state "
            "nearest to them on validation data is the best."
        )
    return section(
        "Training while compressing",
        element("div", *charts, class_="pair"),
        note(f"{meaning} The best state is kept; 0 is before any training."),
    )


def settings(results: RunResults) -> Markup:
    """What was asked for, and the files beside the page."""
    report = results.report
    given = {
        "data": report["dataset"],
        "model": report["model"],
        "method": report["method"],
        "seed": report["seed"],
        "seconds": f"{report['seconds']:.0f}",
        **{key.replace("_", " "): v for key, v in report["settings"].items()},
    }
    files = [
        element(
            "li", element("a", name, href=name), element("span", f" {words}")
        )
        for name, words in FILES
        if (results.folder / name).exists()
    ]
    return joined(
        section("Settings", pairs(given)),
        section("Files", element("ul", *files, class_="files")),
    )


def _scaled(name: str, count: int, whole: int, kind: str) -> tuple[Any, Any]:
    width = f"width:{100 * count / max(whole, 1):.2f}%"
    return (
        element("dt", name, element("b", size(count))),
        element("dd", element("i", class_=kind, style=width)),
    )


def _bytes_row(before: int, after: int) -> tuple[str, str, str]:
    return f"{before:,}", f"{after:,}", times(before / max(after, 1))


def _totals(found: Sequence[Mapping[str, Any]]) -> tuple[int, int]:
    return (
        sum(t["bytes_before"] for t in found),
        sum(t["bytes_after"] for t in found),
    )


def _usage_of(name: str, part: CodeUsage, parts: int) -> Markup:
    columns, codes = part.shares.shape
    words = f"{columns} × {codes} codes"
    if parts > 1:
        words = f"rows {part.first:,}–{part.first + part.rows - 1:,}: {words}"
    shares = -(-part.shares).copy()
    shares.sort(axis=1)
    dead = f"{part.dead:,} of {columns * codes:,} dead"
    return joined(
        element("p", words, class_="tier"),
        bars(shares.mean(axis=0), f"{name}, {words}: use of codes"),
        element(
            "p",
            f"perplexity {part.perplexity:.0f} of {codes}, ",
            element("span", dead, class_="warn" if part.dead else None),
            class_="tier",
        ),
    )


def _course(
    name: str, values: Sequence[float], first: int, kept: float | None
) -> Markup:
    """A chart of one value over the evaluations, numbered from `first`.

    The point that was `kept` is marked, or the last one.
    """
    points = [
        (float(place), value)
        for place, value in enumerate(values, first)
        if isinstance(value, (int, float)) and math.isfinite(value)
    ]
    if not points:
        return Markup()
    x, y = points[-1]
    if kept is not None:
        x, y = min(points, key=lambda point: abs(point[1] - kept))
    return chart(
        counting_axis(first + len(values) - 1),
        linear_axis([value for _, value in points]),
        [Mark(x, y, f"{y:.4f}" + ("" if kept is None else " kept"), "small")],
        points,
        about=f"{name} after each evaluation, from {points[0][1]:.4f} to "
        f"{points[-1][1]:.4f}",
        x_name="evaluations",
        y_name=name,
    )
