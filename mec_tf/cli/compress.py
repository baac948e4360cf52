"""`mec-tf compress`: the main job on a user's own log."""

import argparse
import pathlib
from typing import Any

from mec_tf import compression, data, pipeline
from mec_tf.cli.job import add_arguments, run_job
from mec_tf.cli.output import output_directory
from mec_tf.training import FitSettings

DESCRIPTION = """\
Reads a log of CSV or Parquet files (one, many, or a directory), trains a
ranking model at full precision, tunes it, compresses its embedding tables,
evaluates on held-out rows, and exports a SavedModel that takes the log's own
values. Killed and started again with the same options, it goes on where it
stopped.

Text and whole-number columns become ids, other numbers stay numbers; the
schema found is printed. Correct it with --numeric and --drop.
"""

LAYOUTS = {
    "criteo": data.criteo,
    "avazu": data.avazu,
    "criteo_x1": data.criteo_x1,
    "avazu_x1": data.avazu_x1,
}


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "compress",
        help="the same on your own log",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    files = parser.add_argument_group("data")
    files.add_argument(
        "--data", nargs="+", required=True,
        help="CSV or Parquet files, or a directory of them",
    )  # fmt: skip
    files.add_argument("--label", help="column of 0 and 1")
    files.add_argument(
        "--layout", choices=sorted(LAYOUTS),
        help="a published layout instead of --label and column options",
    )  # fmt: skip
    files.add_argument(
        "--numeric", nargs="*", default=[], help="columns that are numbers"
    )
    files.add_argument(
        "--drop", nargs="*", default=[], help="columns to leave out"
    )
    files.add_argument(
        "--min_count", type=int, default=1,
        help="rarer values share the out-of-vocabulary row (default: 1)",
    )  # fmt: skip
    files.add_argument(
        "--split", choices=("random", "temporal", "by_day"), default="random",
        help="how validation and test rows are held out (default: random)",
    )  # fmt: skip
    files.add_argument(
        "--time_column",
        help="for temporal (default: order of the files) and by_day",
    )
    files.add_argument("--delimiter", help="of CSV (default: by extension)")
    parser.add_argument(
        "--output_dir", required=True, help="new directory for the results"
    )
    training = parser.add_argument_group("training")
    training.add_argument(
        "--embedding_dim", type=int, default=16, help="D (default: 16)"
    )
    training.add_argument(
        "--hidden_units", type=int, nargs="+", default=[300, 300, 300],
        help="widths of the tower (default: 300 300 300)",
    )  # fmt: skip
    training.add_argument(
        "--epochs", type=int, default=4,
        help="at most this many passes; early stopping within (default: 4)",
    )  # fmt: skip
    training.add_argument(
        "--batch_size", type=int, default=4096, help="(default: 4096)"
    )
    training.add_argument(
        "--l2", type=float, nargs="+", default=[0.01, 0.1],
        help="embedding L2 to try (default: 0.01 0.1)",
    )  # fmt: skip
    training.add_argument(
        "--learning_rates", type=float, nargs="+", default=[0.001],
        help="rates to try (default: 0.001)",
    )  # fmt: skip
    training.add_argument(
        "--no_tuning", action="store_true",
        help="train once, with the first --l2 and --learning_rates",
    )  # fmt: skip
    codes = parser.add_argument_group("codes (default: planned for --ratio)")
    codes.add_argument(
        "--num_subspaces", type=int, help="codes a row, for all tables"
    )
    codes.add_argument(
        "--codebook_size", type=int, default=256, help="(default: 256)"
    )
    add_arguments(parser)
    parser.add_argument(
        "--dense_ratio", type=float,
        help="also make dense layers low-rank: their bytes before / after",
    )  # fmt: skip
    parser.add_argument(
        "--curve", action="store_true",
        help="also measure other ratios, without training, for the picture",
    )  # fmt: skip
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Runs the command."""
    job = make_job(args)
    if args.layout is None and not args.label:
        raise ValueError("`--label` must name the column of 0 and 1.")
    settings = {key: value for key, value in vars(args).items() if key != "run"}
    with output_directory(args.output_dir, settings) as folder:
        log = read(args, folder / "work" / "log")
        run_job(job, log, folder, args.curve)


def make_job(args: argparse.Namespace) -> pipeline.RankingJob:
    """The job that the options describe; checks them."""
    if not args.l2 or not args.learning_rates:
        raise ValueError("`--l2` and `--learning_rates` need a value each.")
    if args.epochs < 1:
        raise ValueError(
            f"`--epochs` must be at least 1. Received: epochs={args.epochs}"
        )
    tables = {}
    dense = None
    if args.dense_ratio is not None:
        dense = compression.DenseSettings(ratio=args.dense_ratio)
    if args.num_subspaces is not None:
        settings_type = compression.METHODS[args.method].settings_type
        if settings_type is not compression.TableSettings:
            raise ValueError(
                "`--num_subspaces` is of methods that make codes. "
                f"Received: --method {args.method}"
            )
        if args.num_subspaces < 1 or args.embedding_dim % args.num_subspaces:
            raise ValueError(
                "`--num_subspaces` must divide `--embedding_dim`. Received: "
                f"num_subspaces={args.num_subspaces}, "
                f"embedding_dim={args.embedding_dim}"
            )
        tables["*"] = compression.TableSettings(
            args.num_subspaces, args.codebook_size
        )
    return pipeline.RankingJob(
        args.model,
        {
            "embedding_dim": args.embedding_dim,
            "hidden_units": tuple(args.hidden_units),
        },
        FitSettings(
            args.learning_rates[0], args.l2[0], args.batch_size, args.epochs
        ),
        {}
        if args.no_tuning
        else {"embedding_l2": args.l2, "learning_rate": args.learning_rates},
        compression.CompressionPolicy(
            ratio=args.ratio,
            method=args.method,
            tables=tables,
            dense=dense,
            seed=args.seed,
        ),
        args.seed,
        args.distill,
    )


def read(args: argparse.Namespace, cache: pathlib.Path) -> data.Log:
    """Reads the log into `cache`, or opens what an earlier run read."""
    if args.layout is not None:
        return LAYOUTS[args.layout](
            args.data if len(args.data) > 1 else args.data[0],
            cache_dir=cache,
            min_count=args.min_count,
        )
    schema = data.infer_schema(
        args.data,
        args.label,
        numeric=tuple(args.numeric),
        drop=tuple(args.drop),
        timestamp=args.time_column,
        delimiter=args.delimiter,
    )
    print(schema, flush=True)
    return data.read_log(
        args.data,
        args.label,
        cache_dir=cache,
        schema=schema,
        min_count=args.min_count,
        split=make_split(args),
        delimiter=args.delimiter,
    )


def make_split(args: argparse.Namespace) -> Any:
    """The split that the options name."""
    if args.split == "random":
        return data.RandomSplit(seed=args.seed)
    if args.split == "temporal":
        return data.TemporalSplit(args.time_column)
    if not args.time_column:
        raise ValueError("`--split by_day` needs `--time_column`.")
    return data.ByValueSplit(args.time_column)
