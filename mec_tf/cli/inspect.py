"""`mec-tf inspect`: what a compressed model holds."""

import argparse
import pathlib

import tensorflow as tf

from mec_tf.compression.counting import (
    code_usage,
    layer_bytes,
    whole_codes,
)
from mec_tf.compression.embedding_codes import EmbeddingCodes
from mec_tf.compression.plan import table_of_bytes
from mec_tf.compression.tables import table_layers
from mec_tf.export import inspect_saved_model
from mec_tf.layers import CodeLookupEmbedding

Row = tuple[str, int, int, int, int, str]

DESCRIPTION = """\
Lists the embedding tables of a SavedModel that mec_tf exported, of a .keras
file or of embedding codes (.safetensors): rows, width, bytes, ratio, and how
many of the codes are in use.
"""


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "inspect",
        help="tables, bytes, ratio and code usage of a model",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "path", help="a SavedModel directory, .keras or .safetensors file"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Runs the command."""
    path = pathlib.Path(args.path)
    if not path.exists():
        raise FileNotFoundError(f"`path` {path} does not exist.")
    if path.is_dir():
        rows = saved_tables(path)
    elif path.suffix == ".safetensors":
        rows = list(EmbeddingCodes.load(path).rows())
    else:
        rows = keras_tables(path)
    if not rows:
        raise ValueError(f"`path` {path} holds no embedding table.")
    print(table_of_bytes(rows))


def saved_tables(path: pathlib.Path) -> list[Row]:
    """Tables of a SavedModel, read without loading it."""
    contents = inspect_saved_model(path)
    reader = tf.train.load_checkpoint(str(path / "variables" / "variables"))
    keys = {v.name: v.key for v in contents.variables}
    rows = []
    for table in contents.tables:
        codes = [name for name in table.variables if name.endswith("codes")]
        how = table.kind
        if codes:
            stored = reader.get_tensor(keys[codes[0]])
            how = code_usage(
                whole_codes(stored, table.rows, table.settings),
                table.settings["codebook_size"],
            )
        rows.append(
            (
                table.path, table.rows, table.dim, table.full_bytes,
                table.bytes, how,
            )
        )  # fmt: skip
    return rows


def keras_tables(path: pathlib.Path) -> list[Row]:
    """Tables of a `.keras` file."""
    model = tf.keras.models.load_model(path, compile=False)
    rows = []
    for name, layer in table_layers(model).items():
        how = type(layer).__name__
        if isinstance(layer, CodeLookupEmbedding):
            how = code_usage(layer.row_codes(), layer.codebook_size)
        rows.append(
            (
                name, layer.input_dim, layer.output_dim,
                layer.input_dim * layer.output_dim * 4, layer_bytes(layer),
                how,
            )
        )  # fmt: skip
    return rows
