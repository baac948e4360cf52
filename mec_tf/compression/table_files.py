"""Tables that come without a model: NumPy files and TF checkpoints."""

import os
import pathlib
import zipfile
from typing import Any

import numpy as np
import tensorflow as tf

from mec_tf.compression.encode_ranges import (
    ROWS_AT_ONCE,
    check_codes,
    encode_ranges,
    joined_codes,
)
from mec_tf.compression.settings import TableSettings
from mec_tf.layers import CodeLookupEmbedding


def read_table(
    path: str | os.PathLike, variable: str | None = None
) -> np.ndarray:
    """Opens a table in a file.

    Args:
        path: a `.npy` file (memory-mapped, never read whole), or the prefix
            or directory of a TensorFlow checkpoint.
        variable: name of the table in the checkpoint. Default: its only
            two-dimensional variable.

    Returns:
        Float `[rows, columns]`.

    Raises:
        FileNotFoundError: if there is no such file or checkpoint.
        ValueError: if it holds no such table.
    """
    path = pathlib.Path(path)
    if path.suffix == ".npy":
        if not path.exists():
            raise FileNotFoundError(f"`path` {path} does not exist.")
        try:
            table = np.load(path, mmap_mode="r", allow_pickle=False)
            if not isinstance(table, np.ndarray):
                raise ValueError("it holds several arrays")
        except (ValueError, EOFError, zipfile.BadZipFile) as error:
            raise ValueError(
                f"`path` {path} is no NumPy file: {error}"
            ) from None
    else:
        table = _from_checkpoint(path, variable)
    if table.ndim != 2 or not np.issubdtype(table.dtype, np.floating):
        raise ValueError(
            "`path` must hold a table of floats [rows, columns]. Received "
            f"shape {table.shape}, dtype {table.dtype}"
        )
    return table


def _from_checkpoint(path: pathlib.Path, variable: str | None) -> np.ndarray:
    try:
        reader = tf.train.load_checkpoint(str(path))
    except (ValueError, tf.errors.OpError):
        raise FileNotFoundError(
            f"`path` {path} is neither a .npy file nor a checkpoint."
        ) from None
    shapes = reader.get_variable_to_shape_map()
    if variable is None:
        names = [name for name, shape in shapes.items() if len(shape) == 2]
        if len(names) != 1:
            raise ValueError(
                "`variable` must name one table of the checkpoint: "
                f"{', '.join(sorted(names)) or 'it holds none'}"
            )
        variable = names[0]
    if variable not in shapes:
        raise ValueError(
            f"`variable` must be one of {', '.join(sorted(shapes))}. "
            f"Received: variable={variable!r}"
        )
    return reader.get_tensor(variable)


def compress_table(
    table: np.ndarray | str | os.PathLike,
    settings: TableSettings,
    *,
    counts: np.ndarray | None = None,
    variable: str | None = None,
    seed: int = 0,
    folder: str | os.PathLike | None = None,
    rows_at_once: int = ROWS_AT_ONCE,
    **config: Any,
) -> CodeLookupEmbedding:
    """Turns a trained table into codes, without a model or training.

    Args:
        table: float `[rows, columns]`, or a file as of `read_table`.
        settings: how to store it.
        counts: `[rows]` times each row occurs in the training data.
        variable: name of the table in a checkpoint.
        seed: of k-means.
        folder: where codebooks and the codes of each range of rows are kept
            as soon as they are made (see `encode_ranges`), so that a run that
            was killed goes on. Default None: nothing is written.
        rows_at_once: rows of a range.
        **config: other arguments of `CodeLookupEmbedding`.

    Raises:
        ValueError: if the table or the settings do not fit.
        ArtifactError: if a file in `folder` is damaged, or of another table
            or other settings.
        OSError: if a file cannot be written.
    """
    if not isinstance(table, np.ndarray):
        table = read_table(table, variable)
    check_codes(settings)
    config = {
        "input_dim": len(table),
        "private_rows": settings.private_rows,
        "codebook_dtype": settings.codebook_dtype,
        "bit_packed": settings.bit_packed,
        **config,
    }
    if folder is not None:
        if config.get("additive_dim"):
            raise ValueError(
                "`additive_dim` must be 0 where codes go to a `folder`. "
                f"Received: additive_dim={config['additive_dim']}"
            )
        encode_ranges(
            table,
            settings,
            folder,
            counts=counts,
            seed=seed,
            rows_at_once=rows_at_once,
        )
        state = joined_codes(table, settings, folder, seed, rows_at_once)
        if settings.quantizer == "residual":
            config["additive_dim"] = table.shape[1]
        return CodeLookupEmbedding.from_codes(**state, **config)
    kept = settings.private_rows or len(table)
    return CodeLookupEmbedding.from_table(
        table[:kept],
        settings.num_subspaces,
        settings.codebook_size,
        counts=None if counts is None else counts[:kept],
        seed=seed,
        quantizer=settings.quantizer,
        rank=settings.rank,
        **config,
    )
