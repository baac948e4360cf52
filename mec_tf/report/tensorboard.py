"""The results of a run for TensorBoard."""

import os
import pathlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from mec_tf.compression import CompressionReport, EmbeddingCodes
from mec_tf.report.code_usage import code_usages
from mec_tf.report.markdown import to_markdown
from mec_tf.report.projector import write_projector
from mec_tf.report.run_results import RunResults
from mec_tf.report.words import short_names
from mec_tf.training import summaries

TAG = "compression/report"


def write_summary(
    report: CompressionReport, log_dir: str | os.PathLike, step: int = 0
) -> None:
    """Writes a report of `compress` as text, where TensorBoard shows it.

    Args:
        report: `CompressionResult.report`.
        log_dir: of TensorBoard.
        step: to show it at. Default 0.

    Example:
        >>> result = mec_tf.compress(model, train)
        >>> mec_tf.report.write_summary(result.report, "logs")
    """
    with _writing(log_dir).as_default(step):
        summaries.text(TAG, to_markdown(report.to_dict()))


def write_tensorboard(
    folder: str | os.PathLike, log_dir: str | os.PathLike
) -> None:
    """Writes the results of a run for TensorBoard.

    The report as text; scores, bytes, and the course of the training as
    scalars; how rows spread over codes as histograms (1 is an equal share);
    and the most popular vectors of each table for the projector, named by
    their values where the exported model holds the vocabulary.

    Args:
        folder: what `mec-tf quickstart` or `mec-tf compress` wrote.
        log_dir: of TensorBoard.

    Raises:
        FileNotFoundError: if the folder holds no `report.json`.
        ArtifactError: if a file in it is damaged or of another kind.
        OSError: if a file cannot be written.
    """
    results = RunResults.load(folder)
    report = results.report
    with _writing(log_dir).as_default(0):
        summaries.text(TAG, to_markdown(report))
        summaries.scalar("ratio", report["ratio"])
        for side in ("full_precision", "compressed"):
            for key, value in report[side].items():
                summaries.scalar(f"{side}/{key}", value)
        for name, relative in _usages(results.codes):
            summaries.histogram(f"{name}/code_usage", relative)
        for name, step, value in _course(report):
            tf.summary.experimental.set_step(step)
            summaries.scalar(f"compressing/{name}", value)
    if results.codes is not None:
        assets = results.folder / "serving" / "1" / "assets"
        values = {
            name: found
            for name in results.codes.names
            if (found := _values(assets, name, results.codes)) is not None
        }
        write_projector(results.codes, log_dir, values=values)


def _writing(log_dir: str | os.PathLike) -> Any:
    return tf.summary.create_file_writer(os.fspath(log_dir))


def _usages(codes: EmbeddingCodes | None) -> Iterator[tuple[str, np.ndarray]]:
    if codes is None:
        return
    names = short_names(codes.names)
    for path, name in names.items():
        found = code_usages(codes.table(path))
        for place, usage in enumerate(found):
            tier = f"/tier_{place}" if len(found) > 1 else ""
            yield name + tier, usage.relative


def _course(report: Mapping[str, Any]) -> Iterator[tuple[str, int, float]]:
    """(name, step, value) of the training, before it is step 0."""
    score = report.get("score")
    if score:
        yield score[0], 0, score[1]
    for name, values in report.get("history", {}).items():
        for step, value in enumerate(values, 1):
            yield name, step, value


def _values(
    assets: pathlib.Path, name: str, codes: EmbeddingCodes
) -> list[str] | None:
    """A table's values from row 1 on, of the one file that fits."""
    safe = re.sub("[^A-Za-z0-9_]+", "_", name.split("/")[-1])
    fitting = []
    for path in assets.glob(f"vocabulary_{safe}_{'[0-9a-f]' * 16}.txt"):
        # A value may hold what `splitlines` takes for the end of a line.
        lines = path.read_text(encoding="utf-8").split("\n")[:-1]
        if len(lines) == codes.table(name).rows - 1:
            fitting.append(lines)
    return fitting[0] if len(fitting) == 1 else None
