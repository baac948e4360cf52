"""From a log to a served model: what `quickstart` and `compress` share."""

import argparse
import dataclasses
import json
import pathlib
import time
from typing import Any

from mec_tf import compression, export, pipeline
from mec_tf.cli.pictures import draw_curve
from mec_tf.compression.plan import Measurements, text_table
from mec_tf.data import Log
from mec_tf.files import write_text
from mec_tf.models import BACKBONES
from mec_tf.report import write_html
from mec_tf.training import Scores, TrainingDiverged, evaluate

# Ratios of the curve that is drawn beside the result.
CURVE = (25, 100, 200)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of every command that trains."""
    parser.add_argument(
        "--ratio", type=float,
        help="bytes of all tables before / after (default: 50 with codes)",
    )  # fmt: skip
    parser.add_argument(
        "--method", default="mec", choices=list(compression.METHODS),
        help="what tables become (default: mec, learned codes)",
    )  # fmt: skip
    parser.add_argument(
        "--model", default="deepfm", choices=sorted(BACKBONES),
        help="ranking model (default: deepfm)",
    )  # fmt: skip
    parser.add_argument(
        "--distill", action="store_true",
        help="compressed tables learn what the full model answers, not labels",
    )  # fmt: skip
    parser.add_argument(
        "--seed", type=int, default=0, help="of everything random (default: 0)"
    )


def run_job(
    job: pipeline.RankingJob, log: Log, folder: pathlib.Path, curve: bool
) -> dict[str, Any]:
    """Trains, compresses, evaluates, exports and reports.

    Args:
        job: what to do.
        log: the data.
        folder: the open output directory.
        curve: whether to measure other ratios for the picture.

    Returns:
        The contents of `report.json`.
    """
    started = time.monotonic()
    check_budget(job, log)
    print("\nTraining at full precision ...", flush=True)
    full, _, settings = pipeline.train_full(job, log, folder / "work" / "full")
    full_scores = evaluate(full, log, "test")
    print("\nCompressing ...", flush=True)
    measured: Measurements = {}
    try:
        result = pipeline.compress_full(
            job,
            full,
            log,
            settings,
            plan=make_plan(job, full, log, measured),
            folder=folder / "work" / "compressed",
        )
    except TrainingDiverged as error:
        raise saved(error, folder / "best.keras") from None
    scores = evaluate(result.model, log, "test")
    print("\nExporting ...", flush=True)
    exported = export.save(
        result.model,
        folder / "serving" / "1",
        vocabularies=log.vocabularies,
        activation="sigmoid",
        overwrite=True,
    )
    export.save_keras(result.model, folder / "model.keras")
    result.codes.save(folder / "codes.safetensors")
    report = {
        "dataset": log.name,
        "model": job.backbone,
        "method": job.policy.method,
        "seed": job.seed,
        "ratio": result.report.ratio,
        "seconds": round(time.monotonic() - started, 1),
        "export_dir": str(folder / "serving" / "1"),
        "full_precision": {
            **full_scores.to_dict(),
            "bytes": result.report.bytes_before,
        },
        "compressed": {
            **scores.to_dict(),
            "bytes": result.report.bytes_after,
            "bytes_on_disk": exported.bytes_on_disk,
        },
        "settings": {
            **dataclasses.asdict(settings),
            "distill": job.distill,
        },
        "tables": result.report.to_dict()["tables"],
        "dense": result.report.to_dict()["dense"],
        "curve": [],
        "score": result.report.score,
        "history": {
            name: [float(value) for value in values]
            for name, values in result.history.items()
        },
    }
    anew = compression.METHODS[job.policy.method].from_scratch
    if curve and not anew:  # without training there is nothing to measure
        report["curve"] = measure_curve(job, full, log, settings, measured)
    note = draw_curve(report, folder / "auc_vs_bytes.png")
    text = markdown(report, result.report, picture=not note)
    write_text(folder / "report.md", text)
    write_text(folder / "report.json", json.dumps(report, indent=1) + "\n")
    print("\n" + str(result.report))
    print("\n" + summary(report))
    print(f"Open {write_html(folder)} to see it.")
    if note:
        print(note)
    return report


def saved(error: TrainingDiverged, path: pathlib.Path) -> TrainingDiverged:
    """The error of a lost compression, its best model saved."""
    if error.result is None:
        return error
    export.save_keras(error.result.model, path)
    return TrainingDiverged(f"{error} Its model is saved as {path}.")


def check_budget(job: pipeline.RankingJob, log: Log) -> None:
    """Checks sizes on an untrained model: a bad ratio fails at once."""
    model = job.make_model(log, job.settings)
    model.build(None)
    compression.check_budget(
        compression.find_tables(model),
        job.policy,
        pipeline.table_counts(model, log),
    )


def make_plan(
    job: pipeline.RankingJob,
    model: Any,
    log: Log,
    measured: Measurements,
    progress: bool = True,
) -> compression.CompressionPlan:
    """The plan of a job; `measured` serves other ratios too."""
    return compression.make_plan(
        compression.find_tables(model),
        job.policy,
        pipeline.table_counts(model, log),
        progress=progress,
        measured=measured,
    )


def measure_curve(job, full, log, settings, measured) -> list[dict[str, float]]:
    """Test AUC at other ratios, quantized without further training."""
    points = []
    for ratio in CURVE:
        policy = dataclasses.replace(
            job.policy, ratio=float(ratio), max_bytes=None, tables={}
        )
        quick = dataclasses.replace(settings, epochs=0)
        try:
            other = dataclasses.replace(job, policy=policy)
            result = pipeline.compress_full(
                other, full, log, quick, verbose=0,
                plan=make_plan(other, full, log, measured, progress=False),
            )  # fmt: skip
        except ValueError:
            continue  # beyond what these tables give
        test: Scores = evaluate(result.model, log, "test")
        points.append(
            {
                "ratio": result.report.ratio,
                "bytes": result.report.bytes_after,
                "auc": test.auc,
            }
        )
        print(
            f"  without training, {points[-1]['ratio']:.0f}x: test AUC "
            f"{test.auc:.4f}",
            flush=True,
        )
    return points


def summary(report: dict[str, Any]) -> str:
    """The final table."""
    full, small = report["full_precision"], report["compressed"]
    rows = [
        ("", "full precision", "compressed", ""),
        ("test AUC", f"{full['auc']:.4f}", f"{small['auc']:.4f}",
         f"{small['auc'] - full['auc']:+.4f}"),
        ("test log-loss", f"{full['log_loss']:.4f}",
         f"{small['log_loss']:.4f}",
         f"{small['log_loss'] - full['log_loss']:+.4f}"),
        ("table bytes", f"{full['bytes']:,}", f"{small['bytes']:,}",
         f"{report['ratio']:.1f}x smaller"),
        ("on disk", "", f"{small['bytes_on_disk']:,}", ""),
    ]  # fmt: skip
    return (
        f"{text_table(rows)}\n\n{report['seconds']:.0f} seconds. "
        f"Serve {report['export_dir']} with TensorFlow Serving."
    )


def markdown(report: dict[str, Any], tables: Any, picture: bool) -> str:
    """`report.md`."""
    return (
        f"# {report['dataset']}, {report['model']}, "
        f"{report['ratio']:.1f}x smaller\n\n"
        f"```\n{summary(report)}\n```\n\n"
        f"## Tables\n\n```\n{tables}\n```\n"
        + ("\n![AUC against bytes](auc_vs_bytes.png)\n" if picture else "")
    )
