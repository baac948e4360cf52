"""What `mec-tf quickstart` or `mec-tf compress` left behind."""

import dataclasses
import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any

from mec_tf.compression import EmbeddingCodes
from mec_tf.files import ArtifactError

_NUMBER = (int, float)
_SCORES = {"auc": _NUMBER, "log_loss": _NUMBER, "bytes": int}
_OPTIONAL = type(None)
# Keys that end in "?" came with later releases or other methods.
_SHAPE = {
    "dataset": str,
    "model": str,
    "method": str,
    "seed": int,
    "ratio": _NUMBER,
    "seconds": _NUMBER,
    "full_precision": _SCORES,
    "compressed": _SCORES,
    "settings": {},
    "tables": [
        {
            "path": str,
            "rows": int,
            "dim": int,
            "bytes_before": int,
            "bytes_after": int,
            "how": str,
            "alone?": (dict, _OPTIONAL),
            "distortion?": (dict, _OPTIONAL),
        }
    ],
    "dense?": [
        {
            "path": str,
            "inputs": int,
            "units": int,
            "bytes_before": int,
            "bytes_after": int,
            "note": str,
        }
    ],
    "curve?": [{"ratio": _NUMBER, "bytes": int, "auc": _NUMBER}],
    "history?": {},
    "score?": (list, _OPTIONAL),
}


@dataclasses.dataclass(frozen=True)
class RunResults:
    """The contents of an output directory.

    Args:
        folder: the directory.
        report: contents of `report.json`.
        codes: its tables; None where `codes.safetensors` is not there.
    """

    folder: pathlib.Path
    report: Mapping[str, Any]
    codes: EmbeddingCodes | None

    @classmethod
    def load(cls, folder: str | os.PathLike) -> "RunResults":
        """Reads an output directory.

        Raises:
            FileNotFoundError: if it holds no `report.json`.
            ArtifactError: if a file in it is damaged or of another kind.
        """
        folder = pathlib.Path(folder)
        path = folder / "report.json"
        if not path.is_file():
            raise FileNotFoundError(
                "`OUT_DIR` must be what `mec-tf quickstart` or `mec-tf "
                f"compress` wrote. Received: {folder}, without a report.json"
            )
        try:
            report = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ArtifactError(path, f"is damaged ({error})") from None
        reason = _misfit("the report", report, _SHAPE)
        if reason:
            raise ArtifactError(path, f"is no report of mec-tf: {reason}")
        codes = folder / "codes.safetensors"
        return cls(
            folder,
            report,
            EmbeddingCodes.load(codes) if codes.is_file() else None,
        )


def _misfit(place: str, value: Any, shape: Any) -> str:
    """What does not fit, or ""."""
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            return f"{place} must be an object"
        for key, inner in shape.items():
            name = key.rstrip("?")
            if name not in value and key != name:
                continue
            reason = (
                _misfit(f"`{name}` of {place}", value[name], inner)
                if name in value
                else f"{place} must have `{name}`"
            )
            if reason:
                return reason
        return ""
    if isinstance(shape, list):
        if not isinstance(value, list):
            return f"{place} must be a list"
        reasons = (_misfit(f"an item of {place}", v, shape[0]) for v in value)
        return next(filter(None, reasons), "")
    if not isinstance(value, shape):
        return f"{place} must not be {type(value).__name__}"
    return ""
