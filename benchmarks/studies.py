"""Ablation and sensitivity of MEC, one factor at a time.

    python -m benchmarks.studies --study ablation,cold,pwr,contrastive \
        --datasets video_games --data FILE --output results/studies.json
    python -m benchmarks.studies --summary FILE...

Every arm compresses the same tuned full-precision models; a row holds quality
and how the codes are used (`benchmarks.usage`). Squared errors are taken from
the full-precision rows: they hold what training moved, too. Resumable as
`benchmarks.quality` is.
"""

from typing import Any

from absl import app, flags

from benchmarks import methods, quality, summary
from benchmarks.environment import read_rows
from benchmarks.runner import Cell, Runner, Trained
from benchmarks.usage import TIERS, code_usage
from mec_tf import compression, pipeline
from mec_tf.training import evaluate

FLAGS = flags.FLAGS

PWR, CONTRASTIVE = "pwr_weight", "contrastive_weight"
# "paper" are the weights of arXiv 2502.15355.
PAPER = {PWR: 1e-4, CONTRASTIVE: 2e-3}
STRONG = {PWR: 1e-2, CONTRASTIVE: 2e-1}


def _weights(name: str, values: tuple[float, ...]) -> dict[str, dict]:
    return {f"{value:g}": {name: value} for value in values}


LOSSES: dict[str, dict[str, Any]] = {
    "none": {},
    "pwr, paper": {PWR: PAPER[PWR]},
    "contrastive, paper": {CONTRASTIVE: PAPER[CONTRASTIVE]},
    "both, paper": PAPER,
    "pwr, 100x": {PWR: STRONG[PWR]},
    "contrastive, 100x": {CONTRASTIVE: STRONG[CONTRASTIVE]},
    "both, 100x": STRONG,
}
# Arguments of the policy by study and arm.
POLICIES: dict[str, dict[str, dict[str, Any]]] = {
    "ablation": LOSSES,
    # Codes that do not start from k-means on a trained table.
    "cold": {
        arm: {**LOSSES[arm], "start": "cold"}
        for arm in ("none", "pwr, 100x", "contrastive, 100x", "both, 100x")
    },
    # Between and beyond what the ablation has: 0, the paper's, 100 times that.
    "pwr": _weights(PWR, (1e-5, 1e-3, 1e-1, 1.0)),
    "contrastive": _weights(CONTRASTIVE, (2e-4, 2e-2, 2.0)),
    "commitment": _weights(
        "commitment_weight", (0.0, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
    ),
}
# Settings of every table that holds at least twice as many rows as a codebook.
SETTINGS: dict[str, dict[str, compression.TableSettings]] = {
    "subspaces": {f"M={m}": compression.TableSettings(m) for m in (1, 2, 4, 8)},
    "codebook": {
        f"K={k}": compression.TableSettings(2, k) for k in (16, 64, 256, 1024)
    },
}
STUDIES = {**POLICIES, **SETTINGS}


def make_policy(
    cell: Cell, tables: list[compression.Table]
) -> compression.CompressionPolicy:
    """The policy of a cell's study and arm."""
    if cell.study in POLICIES:
        return compression.CompressionPolicy(
            ratio=cell.target_ratio,
            seed=cell.seed,
            **POLICIES[cell.study][cell.arm],
        )
    settings = SETTINGS[cell.study][cell.arm]
    exact = compression.TableSettings(0)
    return compression.CompressionPolicy(
        max_bytes=sum(table.full_bytes for table in tables),
        seed=cell.seed,
        tables={
            table.path: settings
            if table.rows >= 2 * settings.codebook_size
            else exact
            for table in tables
        },
    )


def measure(runner: Runner, cell: Cell) -> dict[str, Any]:
    """Compresses as the arm says; scores and usage of the codes."""
    full = runner.full(cell)
    log = runner.log(cell.dataset, cell.backbone)
    tables = compression.find_tables(full.model)
    result = runner.compress(cell, make_policy(cell, tables))
    valid = evaluate(result.model, log, "validation")
    trained = Trained(
        result.model, valid.auc, full.settings, result.report.seconds
    )
    usage = code_usage(
        result.model,
        pipeline.table_counts(full.model, log),
        {table.path: table.values() for table in tables},
    )
    scores = runner.scores(cell, trained)
    return {**scores, **usage}


def run(runner: Runner, cell: Cell) -> dict[str, Any]:
    """The row of a cell: found, or measured and written."""
    return runner.run(cell, measure)


def cells(
    dataset: str, backbone: str, study: str, ratio: float, seed: int
) -> list[Cell]:
    """The cells of a study; explicit settings aim at no ratio."""
    target = ratio if study in POLICIES else 1.0
    return [
        Cell(dataset, backbone, "mec", seed, target, study=study, arm=arm)
        for arm in STUDIES[study]
    ]


def table(rows: list[dict]) -> str:
    """A Markdown table: quality and code usage of every arm."""
    lines = [
        "| data | backbone | study | arm | ratio | AUC - full (mean ± sd) "
        "| log-loss - full | perplexity / K, rows | by lookups | dead codes "
        "| perplexity / K, popular / middle / rare "
        "| squared error, popular / middle / rare | seeds |",
        "|---" * 13 + "|",
    ]
    for key, pairs in summary.groups(rows, study_key).items():
        dataset, backbone, study, arm, _ = key
        gap = summary.auc_gap(pairs)
        loss = summary.mean(r["log_loss"] - f["log_loss"] for f, r in pairs)
        coded = [row for _, row in pairs if "tiers" in row]
        lines.append(
            f"| {dataset} | {backbone} | {study} | {arm} "
            f"| {min(row['ratio'] for _, row in pairs):.1f} "
            f"| {gap.mean:+.4f} ± {gap.sd:.4f} | {loss:+.4f} "
            + "".join(
                f"| {_mean(coded, name)} "
                for name in ("perplexity", "lookup_perplexity", "dead_share")
            )
            + f"| {_tiers(coded, 'perplexity')} "
            f"| {_tiers(coded, 'error_share')} | {len(pairs)} |"
        )
    return "\n".join(lines)


def study_key(row: dict) -> tuple | None:
    """What a row of a study measures; None for other rows."""
    if not row.get("study"):
        return None
    names = ("dataset", "backbone", "study", "arm", "target_ratio")
    return tuple(row[name] for name in names)


def _mean(rows: list[dict], name: str) -> str:
    if not rows:
        return "–"
    return f"{summary.mean(row[name] for row in rows):.2f}"


def _tiers(rows: list[dict], name: str) -> str:
    return " / ".join(
        _mean([row["tiers"][tier] for row in rows], name) for tier in TIERS
    )


def main(argv):
    if FLAGS.summary:
        print(table([row for file in argv[1:] for row in read_rows(file)]))
        return
    unknown = sorted(set(FLAGS.study) - set(STUDIES))
    if unknown:
        raise app.UsageError(f"--study: there is no {', '.join(unknown)}.")
    runner = quality.make_runner()
    for dataset in FLAGS.datasets:
        for seed in range(FLAGS.seeds):
            full = Cell(dataset, FLAGS.backbone, "full", seed)
            runner.attempt(full, methods.run)
            for study in FLAGS.study:
                for cell in cells(
                    dataset, FLAGS.backbone, study, FLAGS.ratio, seed
                ):
                    runner.attempt(cell, run)
    print(table(runner.rows))
    runner.finish()


if __name__ == "__main__":
    quality.define_flags()
    flags.DEFINE_list("study", ["ablation"], f"Of {', '.join(STUDIES)}.")
    flags.DEFINE_string("backbone", "deepfm", "Model to measure.")
    flags.DEFINE_float("ratio", 50.0, "Compression ratio of the arms.")
    app.run(main)
