"""Pictures of a result."""

import pathlib
from typing import Any

from mec_tf.files import replacing


def draw_curve(report: dict[str, Any], path: pathlib.Path) -> str:
    """Draws test AUC against table bytes.

    Returns:
        A note for the user where Matplotlib is not installed, else "".
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return (
            "No picture: Matplotlib is not installed "
            "(pip install 'mec_tf[demo]')."
        )
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot()
    full, small = report["full_precision"], report["compressed"]
    curve = sorted(report["curve"], key=lambda point: point["bytes"])
    if curve:
        axes.plot(
            [point["bytes"] for point in curve],
            [point["auc"] for point in curve],
            "o--",
            color="0.55",
            label="quantized, not trained further",
        )
    axes.axhline(full["auc"], color="tab:blue", linewidth=0.8, alpha=0.5)
    axes.plot(
        full["bytes"], full["auc"], "s", color="tab:blue",
        markersize=9, label="full precision",
    )  # fmt: skip
    axes.plot(
        small["bytes"], small["auc"], "*", color="tab:red",
        markersize=15, label=f"compressed {report['ratio']:.0f}x",
    )  # fmt: skip
    axes.set_xscale("log")
    axes.set_xlabel("bytes of all embedding tables (log scale)")
    axes.set_ylabel("test AUC")
    axes.set_title(f"{report['dataset']}, {report['model']}")
    axes.grid(alpha=0.3)
    axes.legend(loc="best")
    with replacing(path) as fresh:
        figure.savefig(fresh, dpi=120)
    return ""
