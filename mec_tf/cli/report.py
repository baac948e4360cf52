"""`mec-tf report`: the results of a run as a page, and for TensorBoard."""

import argparse

from mec_tf.report import write_html, write_tensorboard

DESCRIPTION = """\
Writes OUT_DIR/report.html from what `mec-tf quickstart` or `mec-tf compress`
left in OUT_DIR: one page that needs no other file, no script and no network.

With --tensorboard, TensorBoard shows the same: the report as text, scores and
the course of the training, code usage, and the most popular vectors of each
table in the embedding projector.
"""


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "report",
        help="the results of a run as one HTML page, or in TensorBoard",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "out_dir", metavar="OUT_DIR", help="of quickstart or compress"
    )
    parser.add_argument(
        "--tensorboard", metavar="LOG_DIR",
        help="also write these logs, for TensorBoard",
    )  # fmt: skip
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Runs the command."""
    print(f"Wrote {write_html(args.out_dir)}")
    if args.tensorboard:
        write_tensorboard(args.out_dir, args.tensorboard)
        print(f"See it with: tensorboard --logdir {args.tensorboard}")
