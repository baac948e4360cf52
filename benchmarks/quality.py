"""AUC of compressed models against tuned full precision, paired by seed.

    python -m benchmarks.quality --output benchmarks/results/quality.json

L2 and learning rate of the full-precision model are chosen on validation with
the first seed and kept for the others; each seed's model is then compressed.
Goes on where an earlier run with the same `--output` stopped.
"""

import dataclasses
import statistics
import tempfile
import time

from absl import app, flags

import mec_tf
from benchmarks.environment import peak_rss, read_rows, write_rows
from mec_tf import compression, pipeline
from mec_tf.training import FitSettings, evaluate

FLAGS = flags.FLAGS
flags.DEFINE_list("datasets", ["flights"], "flights, or names in --data.")
flags.DEFINE_list("backbones", ["deepfm"], "Models to measure.")
flags.DEFINE_list("ratios", ["50"], "Compression ratios.")
flags.DEFINE_integer("seeds", 3, "Seeds, from 0.")
flags.DEFINE_string("data", None, "An interaction log `user item` a line.")
flags.DEFINE_list("l2", ["0.001", "0.01", "0.1"], "Embedding L2 tried.")
flags.DEFINE_list("learning_rates", ["0.001", "0.002"], "Rates tried.")
flags.DEFINE_string("output", None, "Result file, JSON.", required=True)


def load(dataset: str) -> mec_tf.data.Log:
    if dataset == "flights":
        return mec_tf.data.flights()
    return mec_tf.data.interactions(FLAGS.data)


def measure(log, dataset, backbone, seed, ratios, settings, rows, save):
    """Rows of one seed: full precision, then each ratio. Returns settings."""
    key = {"dataset": dataset, "backbone": backbone, "seed": seed}
    grid = {}
    if settings is None:
        settings = FitSettings()
        grid = {
            "embedding_l2": [float(v) for v in FLAGS.l2],
            "learning_rate": [float(v) for v in FLAGS.learning_rates],
        }
    job = pipeline.RankingJob(backbone, settings=settings, grid=grid, seed=seed)
    with tempfile.TemporaryDirectory() as folder:
        started = time.monotonic()
        full, valid, settings = pipeline.train_full(job, log, folder, verbose=0)
        size = compression.full_bytes(full)
        rows.append(
            {
                **key,
                "method": "full",
                "ratio": 1.0,
                "bytes": size,
                "bytes_on_disk": None,
                **evaluate(full, log, "test").to_dict(),
                "validation_auc": valid.auc,
                "seconds": round(time.monotonic() - started, 1),
                "peak_rss": peak_rss(),
                "settings": dataclasses.asdict(settings),
            }
        )
        for ratio in ratios:
            policy = compression.CompressionPolicy(ratio=ratio)
            job = dataclasses.replace(job, policy=policy)
            result = pipeline.compress_full(job, full, log, settings, verbose=0)
            target = f"{folder}/export-{ratio}"
            exported = mec_tf.export.save(
                result.model, target, vocabularies=log.vocabularies
            )
            rows.append(
                {
                    **key,
                    "method": "mec",
                    "target_ratio": ratio,
                    "ratio": size / result.report.bytes_after,
                    "bytes": result.report.bytes_after,
                    "bytes_on_disk": exported.bytes_on_disk,
                    **evaluate(result.model, log, "test").to_dict(),
                    "validation_auc": evaluate(
                        result.model, log, "validation"
                    ).auc,
                    "seconds": result.report.seconds,
                    "peak_rss": peak_rss(),
                }
            )
    save()
    for row in rows[-1 - len(ratios) :]:
        print(
            f"{dataset} {backbone} seed {seed} {row['method']} "
            f"{row['ratio']:.1f}x: test AUC {row['auc']:.4f}, log-loss "
            f"{row['log_loss']:.4f}, {row['seconds']} s",
            flush=True,
        )
    return settings


def summarize(rows: list[dict]) -> str:
    """A Markdown table of paired differences to full precision."""
    lines = [
        "| data | backbone | ratio | AUC full | AUC | difference (mean ± sd) "
        "| log-loss difference | seeds |",
        "|---|---|---|---|---|---|---|---|",
    ]
    full = {
        (r["dataset"], r["backbone"], r["seed"]): r
        for r in rows
        if r["method"] == "full"
    }
    groups: dict[tuple, list[dict]] = {}
    for row in rows:
        if row["method"] == "mec":
            key = (row["dataset"], row["backbone"], row["target_ratio"])
            groups.setdefault(key, []).append(row)
    for (dataset, backbone, _), group in groups.items():
        pairs = [full[dataset, backbone, row["seed"]] for row in group]
        gaps = [
            row["auc"] - pair["auc"]
            for row, pair in zip(group, pairs, strict=True)
        ]
        losses = [
            row["log_loss"] - pair["log_loss"]
            for row, pair in zip(group, pairs, strict=True)
        ]
        spread = statistics.stdev(gaps) if len(gaps) > 1 else 0.0
        ratio = min(row["ratio"] for row in group)
        lines.append(
            f"| {dataset} | {backbone} | {ratio:.1f} "
            f"| {statistics.mean(p['auc'] for p in pairs):.4f} "
            f"| {statistics.mean(r['auc'] for r in group):.4f} "
            f"| {statistics.mean(gaps):+.4f} ± {spread:.4f} "
            f"| {statistics.mean(losses):+.4f} | {len(group)} |"
        )
    return "\n".join(lines)


def main(argv):
    del argv
    rows = read_rows(FLAGS.output)
    ratios = [float(ratio) for ratio in FLAGS.ratios]
    for dataset in FLAGS.datasets:
        log = load(dataset)
        for backbone in FLAGS.backbones:
            settings = None
            for seed in range(FLAGS.seeds):
                done = [
                    row
                    for row in rows
                    if (row["dataset"], row["backbone"], row["seed"])
                    == (dataset, backbone, seed)
                ]
                if done:
                    if settings is None:
                        settings = FitSettings(**done[0]["settings"])
                    continue
                settings = measure(
                    log, dataset, backbone, seed, ratios, settings, rows,
                    lambda: write_rows(FLAGS.output, rows),
                )  # fmt: skip
    print(summarize(rows))


if __name__ == "__main__":
    app.run(main)
