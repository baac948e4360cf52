"""Numbers, names and verdicts of a report, in words."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

# A difference below this is what this project calls equal quality.
EQUAL = 0.001

_UNITS = ("B", "kB", "MB", "GB", "TB")


def size(count: float) -> str:
    """Bytes to at most three digits: 45.5 MB."""
    place = 0
    while count >= 999.5 and place < len(_UNITS) - 1:
        count, place = count / 1000, place + 1
    return f"{count:.3g} {_UNITS[place]}"


def times(ratio: float) -> str:
    """A ratio to one decimal: 50.2×."""
    return f"{ratio:.1f}\N{MULTIPLICATION SIGN}"


def signed(change: float) -> str:
    """A difference to four decimals, with a sign that does not break."""
    return f"{change:+.4f}".replace("-", "\N{MINUS SIGN}")


def short_names(paths: Sequence[str]) -> dict[str, str]:
    """Paths without the folders that all of them share."""
    parts = [path.split("/")[:-1] for path in paths]
    shared = 0
    while parts and all(
        len(p) > shared and p[shared] == parts[0][shared] for p in parts
    ):
        shared += 1
    return {path: "/".join(path.split("/")[shared:]) for path in paths}


def verdict(report: Mapping[str, Any]) -> tuple[str, bool]:
    """What compressing did to the quality, and whether it fell short.

    Args:
        report: contents of `report.json`.
    """
    full, small = report["full_precision"], report["compressed"]
    change = small["auc"] - full["auc"]
    risen = small["log_loss"] - full["log_loss"]
    if not math.isfinite(change) or not math.isfinite(risen):
        return "The scores could not be computed on this test split.", True
    lost = f"{abs(change):.4f}"
    if change >= 0:
        words = (
            f"Test AUC is no lower than at full precision ({signed(change)})"
        )
    elif change >= -EQUAL:
        words = f"Test AUC is {lost} lower, within {EQUAL:g} of full precision"
    else:
        words = f"Quality falls short: test AUC is {lost} lower, more than "
        words += f"{EQUAL:g}"
    words += f"; log-loss changes by {signed(risen)}."
    if risen > EQUAL:
        words += f" That is more than {EQUAL:g}: the probabilities got worse."
    return words, change < -EQUAL or risen > EQUAL
