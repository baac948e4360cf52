"""AUC of compressed models against tuned full precision, paired by seed.

    python -m benchmarks.quality --output benchmarks/results/quality.json
    python -m benchmarks.quality --summary [--costs] FILE...

L2 and learning rate of the full-precision model are chosen on validation with
the first seed and kept for the others; each method then answers for the same
seeds. Hashing is tuned on the same grid. Started again with the same
`--output`, it goes on where it stopped: rows in the file are not measured
again, and trainings under way are in `--work_dir`. Next to the JSON file it
writes a Markdown table and a picture of AUC against bytes; `--costs` has the
times of training and inference beside.

Data sets: "flights", or any other name for the interaction log of `--data`, a
text file with `user item` a line (`mec_tf.data.interactions`).
"""

import pathlib

from absl import app, flags

from benchmarks import methods, summary
from benchmarks.environment import read_rows
from benchmarks.runner import Runner

FLAGS = flags.FLAGS


def define_flags() -> None:
    """Flags that the studies share."""
    flags.DEFINE_list("datasets", ["flights"], "flights, or names for --data.")
    flags.DEFINE_string("data", None, "An interaction log `user item` a line.")
    flags.DEFINE_integer("seeds", 3, "Seeds, from 0.")
    flags.DEFINE_list(
        "l2",
        ["auto"],
        "Embedding L2 tried; auto: 0.001,0.01,0.1 for flights and 0.1,0.3,1,3 "
        "for interactions.",
    )
    flags.DEFINE_list("learning_rates", ["0.001", "0.002"], "Rates tried.")
    flags.DEFINE_string("output", None, "Result file, JSON.")
    flags.DEFINE_string(
        "work_dir", None, "Trainings under way. Default: <output>.work."
    )
    flags.DEFINE_bool("summary", False, "Only print that of the given files.")


def make_runner() -> Runner:
    """The runner that the flags ask for."""
    if not FLAGS.output:
        raise app.UsageError("--output must be given.")
    l2 = None
    if FLAGS.l2 != ["auto"]:
        l2 = tuple(float(value) for value in FLAGS.l2)
    return Runner(
        FLAGS.output,
        FLAGS.work_dir,
        FLAGS.data,
        l2,
        tuple(float(value) for value in FLAGS.learning_rates),
    )


def write_summary(rows: list[dict], output: str) -> str:
    """Writes the table and the picture next to the result file."""
    text = summary.table(rows)
    pathlib.Path(output).with_suffix(".md").write_text(text + "\n")
    summary.draw(rows, pathlib.Path(output).with_suffix(".png"))
    return text


def main(argv):
    if FLAGS.summary:
        tell = summary.costs if FLAGS.costs else summary.table
        print(tell(row for file in argv[1:] for row in read_rows(file)))
        return
    unknown = sorted(set(FLAGS.methods) - set(methods.METHODS))
    if unknown:
        raise app.UsageError(f"--methods: there is no {', '.join(unknown)}.")
    runner = make_runner()
    ratios = [float(ratio) for ratio in FLAGS.ratios]
    for dataset in FLAGS.datasets:
        for backbone in FLAGS.backbones:
            for seed in range(FLAGS.seeds):
                for cell in methods.cells(
                    dataset, backbone, FLAGS.methods, ratios, seed,
                    FLAGS.auxiliary, FLAGS.embedding_dim,
                ):  # fmt: skip
                    runner.attempt(cell, methods.run)
    if runner.rows:
        print(write_summary(runner.rows, FLAGS.output))
    runner.finish()


if __name__ == "__main__":
    define_flags()
    flags.DEFINE_list("backbones", ["deepfm"], "Models to measure.")
    flags.DEFINE_list(
        "methods", ["full", "mec"], f"Of {', '.join(methods.METHODS)}."
    )
    flags.DEFINE_list("ratios", ["50"], "Compression ratios.")
    flags.DEFINE_bool("costs", False, "Print what methods cost, instead.")
    flags.DEFINE_integer(
        "embedding_dim", 0, "Width of the rows. Default: the model's."
    )
    flags.DEFINE_string(
        "auxiliary", "deepfm", "Backbone that learns the codes of stage2."
    )
    app.run(main)
