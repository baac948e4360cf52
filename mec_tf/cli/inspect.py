"""`mec-tf inspect`: what a compressed model holds."""

import argparse
import pathlib
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from mec_tf.compression.counting import (
    code_usage,
    in_tiers,
    layer_bytes,
    layer_usage,
    whole_codes,
)
from mec_tf.compression.embedding_codes import EmbeddingCodes
from mec_tf.compression.plan import table_of_bytes
from mec_tf.compression.tables import table_layers
from mec_tf.export import inspect_saved_model, load_keras
from mec_tf.export.inspect import SavedTable
from mec_tf.layers.fused_tables import FusedTables
from mec_tf.layers.variables import raw

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

    def read(name: str) -> np.ndarray:
        return reader.get_tensor(keys[name])

    rows: list[Row] = []
    for table in contents.tables:
        if "tables" in table.settings:
            codes = [n for n in table.variables if n.endswith("codes")]
            rows += _fused(
                table.path,
                table.dim,
                table.bytes,
                table.settings,
                read(codes[0]) if codes else None,
            )
        else:
            rows.append(
                (
                    table.path,
                    table.rows,
                    table.dim,
                    table.full_bytes,
                    table.bytes,
                    _usage(table, read),
                )
            )
    return rows


def _fused(
    path: str,
    dim: int,
    size: int,
    settings: Mapping[str, Any],
    codes: np.ndarray | None,
) -> list[Row]:
    """Each of the tables that stand in one variable, as a table of its own."""
    parts = settings["tables"]
    entries = parts[-1]["row_range"][1]
    # Besides their rows all have codebooks of one size.
    stored = size if codes is None else codes.nbytes
    rows = []
    for part in parts:
        count, (start, stop) = part["input_dim"], part["row_range"]
        own = stored * (stop - start) // entries
        how = "TableEmbedding"
        if codes is not None:
            private = {**settings, "private_rows": part["private_rows"]}
            whole = whole_codes(codes[start:stop], count, private)
            how = code_usage(whole, settings["codebook_size"])
        rows.append(
            (
                f"{path}/{part['name']}", count, dim, count * dim * 4,
                own + (size - stored) // len(parts), how,
            )
        )  # fmt: skip
    return rows


def _usage(table: SavedTable, read: Callable[[str], np.ndarray]) -> str:
    """How a saved table is stored, like `layer_usage`."""
    # Tiers and their codes are in the same order.
    codes = iter(n for n in table.variables if re.search(r"codes(_\d+)?$", n))

    def words(kind: str, rows: int, settings: Mapping[str, Any]) -> str:
        if kind != "CodeLookupEmbedding":
            return kind
        stored = whole_codes(read(next(codes)), rows, settings)
        return code_usage(stored, settings["codebook_size"])

    if "tiers" not in table.settings:
        return words(table.kind, table.rows, table.settings)
    return in_tiers(
        (tier["rows"], words(tier["kind"], tier["rows"], tier["settings"]))
        for tier in table.settings["tiers"]
    )


def keras_tables(path: pathlib.Path) -> list[Row]:
    """Tables of a `.keras` file."""
    model = load_keras(path, compile=False)
    rows: list[Row] = []
    for name, layer in table_layers(model).items():
        if isinstance(layer, FusedTables):
            codes = getattr(layer, "codes", None)
            rows += _fused(
                name,
                layer.output_dim,
                layer_bytes(layer),
                {**layer.get_config(), "tables": layer.describe()},
                None if codes is None else raw(codes).numpy(),
            )
            continue
        rows.append(
            (
                name, layer.input_dim, layer.output_dim,
                layer.input_dim * layer.output_dim * 4, layer_bytes(layer),
                layer_usage(layer),
            )
        )  # fmt: skip
    return rows
