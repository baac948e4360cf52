"""`mec-tf quickstart`: the main job on built-in real data."""

import argparse

from mec_tf import compression, data, pipeline
from mec_tf.cli.job import add_arguments, run_job
from mec_tf.cli.output import output_directory
from mec_tf.training import FitSettings

DESCRIPTION = """\
Trains a ranking model on a year of real flights (327,000 flights, 277,000
embedding rows; label: more than 15 minutes late), tunes its L2 and learning
rate on validation days, compresses its embedding tables, evaluates on test
days, and exports a SavedModel. Takes a few minutes on 2 cores.

The output directory then holds report.html, report.json, report.md,
auc_vs_bytes.png, model.keras, codes.safetensors (the tables, for other models)
and serving/1, which TensorFlow Serving loads.
"""

GRID = {"embedding_l2": (0.01, 0.1), "learning_rate": (0.001, 0.002)}


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "quickstart",
        help="the whole way on real flight data",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--output_dir", default="mec_tf_quickstart",
        help="new directory for the results (default: mec_tf_quickstart)",
    )  # fmt: skip
    add_arguments(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Runs the command."""
    job = pipeline.RankingJob(
        args.model,
        settings=FitSettings(),
        grid=GRID,
        policy=compression.CompressionPolicy(
            ratio=args.ratio, method=args.method, seed=args.seed
        ),
        seed=args.seed,
        distill=args.distill,
    )
    settings = {
        "command": "quickstart",
        "ratio": args.ratio,
        "method": args.method,
        "model": args.model,
        "seed": args.seed,
        "distill": args.distill,
    }
    with output_directory(args.output_dir, settings) as folder:
        print("Reading flights ...", flush=True)
        log = data.flights()
        run_job(job, log, folder, curve=True)
