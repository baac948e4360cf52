"""`mec-tf`: compress embedding tables from the command line."""

import argparse
import sys

import tensorflow as tf
from absl import app, logging
from absl.flags import argparse_flags

from mec_tf.cli import compress, inspect, quickstart, report
from mec_tf.cli.output import Interrupted
from mec_tf.version import __version__

DESCRIPTION = """\
Shrinks the embedding tables of recommenders at least 50-fold, every byte
counted, and exports what TensorFlow Serving runs.

  mec-tf quickstart --output_dir out      the whole way on real flight data
  mec-tf compress --data log.csv --label click --output_dir out
                                          the same on your own log
  mec-tf inspect out/serving/1            tables, bytes, ratio, code usage
  mec-tf report out                       the results as a page

`mec-tf COMMAND --help` explains each command's options.
"""

INPUT_ERRORS = (ValueError, TypeError, OSError, ImportError, tf.errors.OpError)


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse_flags.ArgumentParser(
        prog="mec-tf",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        inherited_absl_flags=None,
    )
    parser.add_argument(
        "--version", action="version", version=f"mec-tf {__version__}"
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for command in (quickstart, compress, inspect, report):
        command.add_parser(commands)
    return parser.parse_args(argv[1:])


def main(args: argparse.Namespace) -> int:
    """Runs a command; errors of the input become one line and status 2."""
    try:
        args.run(args)
    except Interrupted as interruption:
        print(f"\nmec-tf: {interruption}", file=sys.stderr)
        return 130
    except INPUT_ERRORS as error:
        print(f"mec-tf: error: {error}", file=sys.stderr)
        return 2
    return 0


def run() -> None:
    """Entry point of the console script."""
    logging.set_verbosity(logging.WARNING)
    app.run(main, flags_parser=_parse)


if __name__ == "__main__":
    run()
