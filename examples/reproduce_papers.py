"""The settings of three papers on Criteo and Avazu, given their files.

    python examples/reproduce_papers.py --paper mec --dataset criteo \
        --data Criteo_x1/ --output_dir out/mec_criteo
    python examples/reproduce_papers.py --paper alpt --dataset avazu \
        --data train.gz.csv --output_dir out/alpt_avazu
    python examples/reproduce_papers.py --paper low_rank --dataset criteo \
        --data train.txt --output_dir out/low_rank_criteo

Each run trains the paper's model at full precision, then as the paper
compresses it, and prints test scores and the bytes of the tables side by side.
Killed and started again, it goes on where it stopped. `--data` is the file of
the Kaggle challenge or, for the split of the BARS benchmark, the directory of
`Criteo_x1` or `Avazu_x1`.

docs/reproduce.md says where the files are, which settings the papers name and
which are this script's own. The options below change them.
"""

import argparse
import dataclasses
import json
import pathlib
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from mec_tf import compression, data, pipeline
from mec_tf.models import PAPER_SETTINGS
from mec_tf.training import FitSettings, Scores, evaluate

NUMBERS = tuple(f"I{i}" for i in range(1, 14))
IDS = tuple(f"C{i}" for i in range(1, 27))
# The backbones of MEC's experiments.
TARGETS = ("dcnv2", "deepfm", "fibinet", "gdcn", "pnn")

MEC = FitSettings(
    learning_rate=1e-3,
    embedding_l2=0.0,
    batch_size=10_000,
    epochs=100,
    evaluations=1,
    patience=2,
)
ALPT = dataclasses.replace(MEC, embedding_l2=0.01, epochs=15)
LOW_RANK = dataclasses.replace(MEC, embedding_l2=0.01, epochs=15)


@dataclasses.dataclass(frozen=True)
class Paper:
    """What one paper does on one data set.

    Args:
        backbone: key of `mec_tf.models.BACKBONES`.
        model: its arguments.
        settings: of the training.
        min_count: values seen less often in training share a row.
        split: of Kaggle's file; the directories of BARS bring their own.
        bucketed: whether Criteo's numbers become ids.
    """

    backbone: str
    model: dict
    settings: FitSettings
    min_count: int
    split: data.RandomSplit
    bucketed: bool = False


PAPERS = {
    ("mec", "criteo"): Paper(
        "deepfm", PAPER_SETTINGS["deepfm"], MEC, 1, data.RandomSplit()
    ),
    ("mec", "avazu"): Paper(
        "deepfm", PAPER_SETTINGS["deepfm"], MEC, 1, data.RandomSplit()
    ),
    ("alpt", "criteo"): Paper(
        "dcnv2",
        {"embedding_dim": 16, "hidden_units": (1024, 512, 256)},
        ALPT,
        10,
        data.RandomSplit(0.1, 0.1),
        bucketed=True,
    ),
    ("alpt", "avazu"): Paper(
        "dcnv2",
        {"embedding_dim": 16, "hidden_units": (1024, 512, 256)},
        ALPT,
        2,
        data.RandomSplit(0.1, 0.1),
    ),
    ("low_rank", "criteo"): Paper(
        "deepfm",
        {"embedding_dim": 16, "hidden_units": (400, 400, 400)},
        LOW_RANK,
        1,
        data.RandomSplit(validation=0.1, test=0.1),
    ),
    ("low_rank", "avazu"): Paper(
        "deepfm",
        {"embedding_dim": 50, "hidden_units": (2000, 2000, 2000)},
        LOW_RANK,
        1,
        data.RandomSplit(validation=0.1, test=0.2),
    ),
}
# Columns of a table's rows, and outputs of the thin dense factors, to keep.
RANKS = {"criteo": (2, 64), "avazu": (8, 320)}


def read(args: argparse.Namespace, paper: Paper) -> data.Log:
    """The log, encoded once in the output directory."""
    options = {
        "cache_dir": args.output_dir / "log",
        "min_count": paper.min_count,
    }
    if args.data.is_dir():
        layouts = {"criteo": data.criteo_x1, "avazu": data.avazu_x1}
        return layouts[args.dataset](args.data, **options)
    options["split"] = paper.split
    if args.dataset == "avazu":
        return data.avazu(args.data, **options)
    if not paper.bucketed:
        return data.criteo(args.data, **options)
    buckets = {f"{name}_bucket": (name, log_squared) for name in NUMBERS}
    return data.read_log(
        args.data,
        "label",
        schema=data.Schema("label", (*IDS, *buckets), strings=IDS),
        name="criteo",
        delimiter="\t",
        column_names=("label", *NUMBERS, *IDS),
        derive=buckets,
        **options,
    )


def log_squared(text: pa.Array) -> pa.Array:
    """Numbers as ids: those above 2 share one a step of `log(x)^2`.

    By the winners of the Criteo challenge. Smaller ones stay as they are, and
    missing ones missing.
    """
    numbers = text.cast(pa.int64())
    above = pc.if_else(pc.greater(numbers, 2), numbers, 3)
    logs = pc.ln(above.cast(pa.float64()))
    # Above the numbers that stay: 3 is the first.
    buckets = pc.add(pc.floor(pc.multiply(logs, logs)).cast(pa.int64()), 2)
    return pc.if_else(pc.greater(numbers, 2), buckets, numbers)


def policy(args: argparse.Namespace, log: data.Log) -> dict:
    """How the paper compresses, as arguments of a `CompressionPolicy`."""
    if args.paper == "mec":
        codes = compression.TableSettings(
            args.num_subspaces, args.codebook_size, codebook_dtype="float32"
        )
        return {
            "tables": {
                f"*/{name}": codes
                for name in log.schema.categorical
                if log.vocabularies[name].size >= args.compress_above
            }
            | {"*": compression.TableSettings(0)},
            "pwr_weight": 1e-4,
            "contrastive_weight": 2e-3,
        }
    if args.paper == "alpt":
        bits = compression.IntegerSettings(
            args.bits, row_optimizer="adam", row_learning_rate=1e-3
        )
        return {"method": "alpt", "tables": {"*": bits}, "start": "cold"}
    table_rank, dense_rank = args.ranks or RANKS[args.dataset]
    return {
        "method": "low_rank",
        "tables": {"*": compression.LowRankSettings(table_rank, "float32")},
        "dense": compression.DenseSettings(
            ranks=dense_rank, inner_activation="relu"
        ),
    }


def run(args: argparse.Namespace) -> list[dict]:
    """Trains, compresses and scores; a row a model."""
    paper = PAPERS[args.paper, args.dataset]
    log = read(args, paper)
    print(log)
    job = pipeline.RankingJob(
        paper.backbone,
        {**paper.model, **given(args, "embedding_dim", "hidden_units")},
        dataclasses.replace(
            paper.settings,
            **given(
                args, "learning_rate", "embedding_l2", "batch_size", "epochs"
            ),
        ),
        policy=compression.CompressionPolicy(
            seed=args.seed,
            **policy(args, log),
        ),
        seed=args.seed,
    )
    full, _, settings = pipeline.train_full(
        job, log, args.output_dir / "full", verbose=args.verbose
    )
    result = pipeline.compress_full(
        job,
        full,
        log,
        settings,
        folder=args.output_dir / "compressed",
        verbose=args.verbose,
    )
    print(result.report)
    before, after = result.report.bytes_before, result.report.bytes_after
    rows = [
        row(job.backbone, evaluate(full, log, "test"), before, before),
        row(
            f"{job.backbone}, {args.paper}",
            evaluate(result.model, log, "test"),
            before,
            after,
        ),
    ]
    if args.paper != "mec":
        return rows
    # Stage 2: another model on the codes that the first one learned.
    model = {**PAPER_SETTINGS[args.target], **given(args, "embedding_dim")}
    model.update(given(args, "hidden_units"))
    stage2 = dataclasses.replace(job, backbone=args.target, model=model)
    target, _ = pipeline.train_target(
        stage2,
        log,
        result.codes,
        settings,
        args.output_dir / args.target,
        verbose=args.verbose,
    )
    scores = evaluate(target, log, "test")
    before = compression.full_bytes(target)
    after = sum(compression.model_bytes(target).values())
    rows.append(row(f"{args.target} on its codes", scores, before, after))
    return rows


def row(name: str, scores: Scores, before: int, after: int) -> dict:
    return {
        "model": name,
        **scores.to_dict(),
        "table_bytes": after,
        "ratio": before / after,
    }


def given(args: argparse.Namespace, *names: str) -> dict:
    """The options among `names` that were given."""
    values = {name: getattr(args, name) for name in names}
    return {name: v for name, v in values.items() if v is not None}


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--paper", choices=("mec", "alpt", "low_rank"), required=True)
    add("--dataset", choices=("criteo", "avazu"), required=True)
    add("--data", type=pathlib.Path, required=True)
    add("--output_dir", type=pathlib.Path, required=True)
    add("--seed", type=int, default=0)
    add("--verbose", type=int, default=2, help="as of Keras")
    mec = parser.add_argument_group("mec")
    mec.add_argument("--target", default="pnn", choices=TARGETS)
    mec.add_argument("--num_subspaces", type=int, default=4, help="M")
    mec.add_argument("--codebook_size", type=int, default=256, help="K")
    mec.add_argument(
        "--compress_above", type=int, default=100_000, help="rows of a table"
    )
    others = parser.add_argument_group("alpt and low_rank")
    others.add_argument("--bits", type=int, default=8, choices=(8, 4, 2))
    others.add_argument(
        "--ranks", type=int, nargs=2, help="of tables and of dense layers"
    )
    own = parser.add_argument_group("instead of the paper's")
    own.add_argument("--embedding_dim", type=int)
    own.add_argument("--hidden_units", type=int, nargs="+")
    own.add_argument("--learning_rate", type=float)
    own.add_argument("--embedding_l2", type=float)
    own.add_argument("--batch_size", type=int)
    own.add_argument("--epochs", type=int)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse(argv)
    args.output_dir.mkdir(parents=True, exist_ok=True)
    rows = run(args)
    for each in rows:
        print(
            f"{each['model']:<24} AUC {each['auc']:.4f}  "
            f"log-loss {each['log_loss']:.4f}  "
            f"{each['table_bytes'] / 1e6:,.3f} MB  {each['ratio']:.1f}x"
        )
    settings = {name: str(value) for name, value in vars(args).items()}
    text = json.dumps({"settings": settings, "rows": rows}, indent=1)
    (args.output_dir / "results.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
