"""What a benchmark ran on, and how its rows are written."""

import datetime
import json
import os
import pathlib
import platform
import resource
import sys
from typing import Any

import numpy as np
import tensorflow as tf

import mec_tf
from mec_tf.files import write_text


def environment() -> dict[str, Any]:
    """Versions and machine, for the head of a result file."""
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
        "mec_tf": mec_tf.__version__,
        "tensorflow": tf.__version__,
        "keras": "3" if hasattr(tf.keras, "ops") else "2",
        "numpy": np.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "command": " ".join(["python", "-m", *module_argv()]),
    }


def module_argv() -> list[str]:
    """The command line as given after `python -m`."""
    path = pathlib.Path(sys.argv[0]).with_suffix("")
    root = pathlib.Path(__file__).parents[1]
    if path.is_relative_to(root):
        path = path.relative_to(root)
    return [".".join(path.parts), *sys.argv[1:]]


def peak_rss() -> int:
    """Largest resident memory of this process so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def write_rows(path: str, rows: list[dict[str, Any]]) -> None:
    """Writes `{"environment", "rows"}` beside and renames into place."""
    target = pathlib.Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"environment": environment(), "rows": rows}, indent=1)
    write_text(target, text + "\n")


def read_rows(path: str) -> list[dict[str, Any]]:
    """Rows of an earlier, perhaps unfinished run; none without a file."""
    target = pathlib.Path(path)
    if not target.exists():
        return []
    return json.loads(target.read_text())["rows"]
