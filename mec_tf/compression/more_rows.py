"""More rows in a frozen table."""

import math
from typing import Any, TypeAlias

import numpy as np
import tensorflow as tf

from mec_tf.compression.methods.method import policy_of
from mec_tf.compression.settings import LEAVE, TableSettings
from mec_tf.compression.table_files import compress_table
from mec_tf.compression.tables import is_full_table
from mec_tf.layers import (
    CodeLookupEmbedding,
    TableEmbedding,
    TieredEmbedding,
)
from mec_tf.layers.nesting import build_inner
from mec_tf.layers.trained_rows import check_table
from mec_tf.layers.variables import raw
from mec_tf.quantizers import encode_additive

Layer: TypeAlias = tf.keras.layers.Layer


def encode_new_rows(
    layer: Layer,
    vectors: np.ndarray,
    settings: TableSettings | None = None,
    *,
    counts: np.ndarray | None = None,
) -> Layer:
    """A frozen table with more rows behind its present ones.

    Codes of present rows and their codebooks stay bit-identical, and so do
    their answers. By default the new rows get the nearest codes in the
    codebooks as they are; of a `TieredEmbedding` the last tier grows. With
    `settings` they become a tier of their own, with codebooks of their own.
    An exact table takes the vectors as they are.

    Rows that share row 0 (`private_rows`) lie between the stored rows and
    the new ones, so each of them is then stored, with the codes of row 0, or
    in a tier of their own with one bit each: answers stay, bytes grow.

    Args:
        layer: a built `CodeLookupEmbedding` or `TieredEmbedding` of frozen
            tiers; or an exact table, `TableEmbedding` or
            `tf.keras.layers.Embedding`.
        vectors: float `[new rows, output_dim]`.
        settings: how to store the new rows of a table of codes. Default: as
            the last rows that are there.
        counts: `[new rows]` times each occurs, for `settings` with codes:
            popular rows are then kept more exactly. Default: all alike.

    Returns:
        A new, built layer with `input_dim + new rows` rows: with `settings` a
        `TieredEmbedding`, else one of the same class and settings. `layer` is
        unchanged.

    Raises:
        ValueError: if `vectors` has another shape or is not finite, the
            layer cannot grow, or `settings` do not fit the new rows.

    Example:
        >>> table = np.random.default_rng(0).normal(size=(1000, 16))
        >>> layer = CodeLookupEmbedding.from_table(table[:900])
        >>> encode_new_rows(layer, table[900:]).input_dim
        1000
    """
    width = getattr(layer, "output_dim", None)
    if not layer.built or width is None:
        raise ValueError(
            f"`layer` must be a built table. Received: {layer.name}, of class "
            f"{type(layer).__name__}"
        )
    if np.ndim(vectors) != 2 or np.shape(vectors)[1] != width:
        raise ValueError(
            f"`vectors` must be [new rows, {width}]. "
            f"Received shape {np.shape(vectors)}"
        )
    check_table(vectors)
    vectors = np.asarray(vectors, np.float32)
    if not can_grow(layer):
        raise cannot_grow(layer)
    if settings is not None and not is_full_table(layer):
        check_settings(layer, len(vectors), settings)
        new = _stored(layer, vectors, settings, counts)
        return _in_tiers(layer, [*_present_tiers(layer), new])
    if isinstance(layer, CodeLookupEmbedding):
        return _more_codes(layer, vectors)
    if isinstance(layer, TieredEmbedding):
        return _in_tiers(layer, _more_tiers(layer, vectors))
    rows = np.concatenate([raw(layer.embeddings).numpy(), vectors])
    grown = _remade(layer, input_dim=len(rows))
    raw(grown.embeddings).assign(rows)
    return grown


def cannot_grow(layer: Layer) -> ValueError:
    """The error for a table that takes no more rows."""
    return ValueError(
        "`layer` must be a CodeLookupEmbedding, an exact table, or a "
        "TieredEmbedding of frozen tiers. "
        f"Received: {layer.name}, of class {type(layer).__name__}"
    )


def can_grow(layer: Layer) -> bool:
    """Whether a table takes more rows: it is frozen, or holds them exactly."""
    if isinstance(layer, TieredEmbedding):
        return can_grow(layer.tiers[-1])
    if isinstance(layer, CodeLookupEmbedding):
        return True
    whole = not getattr(layer, "private_rows", None)
    return is_full_table(layer) and whole


def check_settings(layer: Layer, rows: int, settings: TableSettings) -> None:
    """Raises ValueError unless so many new rows can be stored so."""
    if settings.heads or settings.private_rows:
        raise ValueError(
            "`settings` of new rows must be without `heads` and "
            f"`private_rows`. Received: {settings}"
        )
    settings.check(layer.name, rows, layer.output_dim, _summed_columns(layer))


def _in_tiers(layer: Layer, tiers: list[Layer]) -> TieredEmbedding:
    """A built table of these tiers in a table's place."""
    grown = TieredEmbedding(
        sum(tier.input_dim for tier in tiers),
        layer.output_dim,
        tiers,
        additive_dim=layer.additive_dim,
        mask_zero=layer.mask_zero,
        oov=layer.oov,
        name=layer.name,
        trainable=layer.trainable,
        dtype=policy_of(layer),
    )
    build_inner(grown)
    return grown


def _more_tiers(layer: TieredEmbedding, vectors: np.ndarray) -> list[Layer]:
    """The tiers of a table with new rows in the codebooks of the last."""
    tiers = _present_tiers(layer)
    last = layer.tiers[-1]
    if len(tiers) == len(layer.tiers):
        return [*tiers[:-1], encode_new_rows(last, vectors)]
    name = f"{last.name}_new"
    if isinstance(last, CodeLookupEmbedding):
        return [*tiers, _with_codes(last, _new_codes(last, vectors), name=name)]
    new = _remade(last, input_dim=len(vectors), name=name)
    raw(new.embeddings).assign(vectors)
    return [*tiers, new]


def _present_tiers(layer: Layer) -> list[Layer]:
    """Copies of a table's tiers; rows that share row 0 are the last one."""
    whole = isinstance(layer, CodeLookupEmbedding)
    if whole:
        tiers = [_with_codes(layer, layer.row_codes(), name="tier_0")]
    else:
        tiers = [same_rows(tier) for tier in layer.tiers]
    shared = layer.input_dim - layer.stored_rows
    if not shared:
        return tiers
    first = tiers[0].lookup(tf.constant([0]), False).numpy()
    with tf.init_scope():
        repeated = CodeLookupEmbedding.from_codes(
            np.zeros((shared, 1), np.uint8),
            np.pad(
                np.asarray(first, np.float32)[None], [(0, 0), (0, 1), (0, 0)]
            ),
            bit_packed=True,
            name=f"{tiers[-1].name}_shared",
            dtype=policy_of(tiers[-1]),
        )
    return [*tiers, repeated]


def _stored(
    layer: Layer,
    vectors: np.ndarray,
    settings: TableSettings,
    counts: np.ndarray | None,
) -> Layer:
    """A tier of new rows behind those of a table."""
    config = {
        "name": f"tier_{len(getattr(layer, 'tiers', [layer]))}_new",
        "dtype": policy_of(layer),
    }
    with tf.init_scope():
        if settings.exact:
            new = TableEmbedding(*vectors.shape, **config)
            build_inner(new)
            raw(new.embeddings).assign(vectors)
            return new
        if settings.quantizer != "residual":  # whose columns all are sums
            config["additive_dim"] = _summed_columns(layer)
        return compress_table(vectors, settings, counts=counts, **config)


def _summed_columns(layer: Layer) -> int:
    """First-order columns of a table of codes."""
    least = min(
        (tier.additive_dim for tier in getattr(layer, "tiers", [layer])),
        default=0,
    )
    return least if least < layer.output_dim else 0


def finest_settings(layer: Layer, rows: int) -> TableSettings | None:
    """How so many new rows are stored unless it is said; None: no choice."""
    if is_full_table(layer):
        return None
    choices = [LEAVE]
    coded = [
        tier
        for tier in getattr(layer, "tiers", [layer])
        if isinstance(tier, CodeLookupEmbedding)
    ]
    finest = max(coded, key=_bits, default=None)
    if finest is not None and 2 * finest.codebook_size <= rows:
        choices.append(_settings(finest))
    return min(
        choices,
        key=lambda each: each.stored_bytes(
            rows, layer.output_dim, _summed_columns(layer)
        ),
    )


def _bits(tier: CodeLookupEmbedding) -> float:
    return tier.num_subspaces * math.log2(tier.codebook_size)


def _settings(tier: CodeLookupEmbedding) -> TableSettings:
    """Settings that a tier's codes could be of."""
    quantizer = "rotated" if tier.rotated else "product"
    if tier.additive_dim == tier.output_dim:
        quantizer = "residual"
    return TableSettings(
        tier.num_subspaces,
        tier.codebook_size,
        tier.codebook_dtype,
        quantizer=quantizer,
        rank=tier.rank,
    )


def _more_codes(
    layer: CodeLookupEmbedding, vectors: np.ndarray
) -> CodeLookupEmbedding:
    present = layer.row_codes()
    sharing = np.repeat(present[:1], layer.input_dim - len(present), axis=0)
    new = _new_codes(layer, vectors).astype(present.dtype)
    return _with_codes(layer, np.concatenate([present, sharing, new]))


def _new_codes(layer: CodeLookupEmbedding, vectors: np.ndarray) -> np.ndarray:
    """The nearest codes `[n, M]` in the layer's codebooks."""
    books, rotation = _codebooks(layer)
    if rotation is not None:
        split = layer.output_dim - layer.additive_dim
        turned = vectors[:, :split] @ rotation.numpy()
        vectors = np.concatenate([turned, vectors[:, split:]], axis=1)
    return encode_additive(vectors, books.numpy(), layer.additive_dim)


def _with_codes(
    layer: CodeLookupEmbedding, codes: np.ndarray, **changes: Any
) -> CodeLookupEmbedding:
    """The layer with these codes `[rows, M]` in place of its own."""
    books = raw(layer.codebooks).numpy()
    books = books.reshape(layer.num_subspaces, layer.codebook_size, -1)
    rotation = raw(layer.rotation).numpy() if layer.rotated else None
    config = layer.get_config()
    for name in ("num_subspaces", "codebook_size", "rotated", "rank"):
        del config[name]
    config.update(input_dim=len(codes), private_rows=None, **changes)
    with tf.init_scope():
        return CodeLookupEmbedding.from_codes(codes, books, rotation, **config)


def same_rows(layer: Layer) -> Layer:
    """A built layer of the same settings and weights."""
    copy = _remade(layer)
    for ours, theirs in zip(layer.weights, copy.weights, strict=True):
        raw(theirs).assign(raw(ours))
    return copy


def _remade(layer: Layer, **changes: Any) -> Layer:
    """A built layer of the same settings but for `changes`, unfilled."""
    with tf.init_scope():
        made = type(layer).from_config({**layer.get_config(), **changes})
        build_inner(made, (None,))
    return made


def _codebooks(
    table: CodeLookupEmbedding,
) -> tuple[tf.Tensor, tf.Tensor | None]:
    """Codebooks `[M, K, entry width]` and rotation, float32."""
    shape = (table.num_subspaces, table.codebook_size, table.entry_dim)
    books = tf.reshape(tf.cast(raw(table.codebooks), tf.float32), shape)
    if not table.rotated:
        return books, None
    return books, tf.cast(raw(table.rotation), tf.float32)
