"""How a table in training uses its codes, measured over all of its rows."""

import dataclasses
from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from mec_tf.layers import QuantizedEmbedding
from mec_tf.layers.variables import raw
from mec_tf.losses.popularity_weighted_regularization import (
    popularity_weight,
)
from mec_tf.quantizers import product
from mec_tf.training.popularity_tiers import TIERS, popularity_tiers

# Distances held at once: 16 MiB of float32.
CHUNK_DISTANCES = 1 << 22
# With fewer rows or codes, all on one code is no collapse yet.
LEAST_TO_COLLAPSE = 8
# Rows that a glance looks at.
GLANCE_ROWS = 4096


@dataclasses.dataclass(frozen=True)
class TableHealth:
    """What `measure` finds; `M` code columns of `K` codes.

    Rows count that were looked up in training; all alike where no popularity
    is known.

    Args:
        rows: number of rows that count.
        usage: `[M, K]`, share of the lookups that each code answers.
        perplexity: mean over columns of `exp(entropy)` of the rows' codes,
            between 1 and `K`.
        distortion: mean over lookups of the squared error of a vector.
        tier_distortion: the same for the lookups of each tier, by name; a
            tier without rows is left out.
        pwr: popularity-weighted regularization of the whole table, in nats,
            without its weight.
        contrastive: weighted contrastive loss that a batch can be expected
            to have: the mean over lookups. 0 where it is off.
        seeds: for each column rows drawn by lookups times error, most
            fitting first: int64 `[M, up to K]`, -1 where there are no more.
    """

    rows: int
    usage: np.ndarray
    perplexity: float
    distortion: float
    tier_distortion: dict[str, float]
    pwr: float
    contrastive: float
    seeds: np.ndarray

    @property
    def dead(self) -> np.ndarray:
        """Which codes no row uses: bool `[M, K]`."""
        return self.usage == 0


def quantized_tables(
    model: tf.keras.Model,
) -> Iterator[tuple[str, QuantizedEmbedding]]:
    """The built quantized tables in training of a model, by unique names.

    A tier of a `TieredEmbedding` is named after it.
    """
    layers = list(model._flatten_layers())
    names = {id(layer): layer.name for layer in layers}
    for layer in layers:
        for place, tier in enumerate(getattr(layer, "tiers", ())):
            names[id(tier)] = f"{layer.name}/tier_{place}"
    found: set[str] = set()
    for layer in layers:
        if isinstance(layer, QuantizedEmbedding) and layer.built:
            name, number = names[id(layer)], 1
            while name in found:
                name, number = f"{names[id(layer)]}_{number}", number + 1
            found.add(name)
            yield name, layer


@dataclasses.dataclass(frozen=True)
class Glance:
    """What `glance` finds: as in `TableHealth`, of some rows."""

    rows: int
    perplexity: float
    distortion: float


def glance(layer: QuantizedEmbedding) -> Glance:
    """Looks at some 4,096 rows of a built table, popular and rare ones."""
    counts = raw(layer.popularity).numpy().astype(np.float64)
    if not counts.sum():
        counts = np.ones(len(counts))
    looked_up = np.flatnonzero(counts)
    looked_up = looked_up[:: max(1, len(looked_up) // GLANCE_ROWS)]
    size = layer.codebook_size
    step = max(1, CHUNK_DISTANCES // (layer.num_codes * size))
    codebooks = tf.convert_to_tensor(raw(layer.codebooks))
    mass = np.zeros((layer.num_codes, size))
    error = 0.0
    for start in range(0, len(looked_up), step):
        rows = looked_up[start : start + step]
        inner, codes, _, entries = _quantize(layer, rows, codebooks)
        for column, picked in enumerate(codes.numpy().T):
            mass[column] += np.bincount(picked, minlength=size)
        gap = inner - layer.quantizer.join(entries)
        errors = tf.reduce_sum(tf.square(gap), axis=-1).numpy()
        error += float(counts[rows] @ errors)
    return Glance(
        len(looked_up),
        float(np.mean(np.exp(_entropy(mass)))),
        error / counts[looked_up].sum(),
    )


def collapsed(layer: QuantizedEmbedding, health: Glance, share: float) -> bool:
    """Whether perplexity is under a share of what it could be.

    Never, where there are fewer than 8 rows or codes.
    """
    most = min(layer.codebook_size, health.rows)
    # One code in use is as far as a collapse can go.
    least = max(1.0 + 1e-6, share * most)
    return most >= LEAST_TO_COLLAPSE and health.perplexity < least


def measure(layer: QuantizedEmbedding, seed: int = 0) -> TableHealth:
    """Looks at every row of a built table, in chunks.

    Args:
        layer: the table.
        seed: of the draws of `seeds`.
    """
    counts = raw(layer.popularity).numpy().astype(np.float64)
    if not counts.sum():
        counts = np.ones(len(counts))
    looked_up = np.flatnonzero(counts)
    size = layer.codebook_size
    step = max(1, CHUNK_DISTANCES // (layer.num_codes * size))
    chunks = [
        looked_up[start : start + step]
        for start in range(0, len(looked_up), step)
    ]
    codebooks = tf.convert_to_tensor(raw(layer.codebooks))
    shape = (layer.num_codes, size)
    row_mass, lookup_mass = np.zeros(shape), np.zeros(shape)
    tiers = popularity_tiers(counts)
    tier_errors, tier_counts = np.zeros((2, len(TIERS)))
    nearest = contrastive = 0.0
    draws = _Draws(shape, seed)
    for place, rows in enumerate(chunks):
        inner, codes, parts, entries = _quantize(layer, rows, codebooks)
        weights = counts[rows]
        for column in range(layer.num_codes):
            picked = codes[:, column].numpy()
            row_mass[column] += np.bincount(picked, minlength=size)
            lookup_mass[column] += np.bincount(picked, weights, size)
        gaps = tf.transpose(parts, [1, 0, 2]) - entries
        column_errors = tf.reduce_sum(tf.square(gaps), axis=-1).numpy()
        nearest += float(column_errors.sum())
        draws.add(rows, weights[:, None] * column_errors)
        gap = inner - layer.quantizer.join(entries)
        errors = tf.reduce_sum(tf.square(gap), axis=-1).numpy()
        groups = tiers[rows]
        tier_errors += np.bincount(groups, weights * errors, len(TIERS))
        tier_counts += np.bincount(groups, weights, len(TIERS))
        if layer.contrastive_weight:
            losses = layer._contrastive.of_codes(
                codes,
                inner,
                codebooks,
                layer.quantizer.join,
                tf.constant([seed, place], tf.int64),
            )
            contrastive += float(weights @ losses.numpy())
    temperature = layer._pwr.temperature
    if temperature is None:
        temperature = max(nearest / len(looked_up) / shape[0], 1e-12)
    total = counts.sum()
    return TableHealth(
        len(looked_up),
        lookup_mass / total,
        float(np.mean(np.exp(_entropy(row_mass)))),
        float(tier_errors.sum() / total),
        {
            name: float(tier_errors[tier] / tier_counts[tier])
            for tier, name in enumerate(TIERS)
            if tier_counts[tier]
        },
        _pwr(layer, chunks, counts, codebooks, temperature),
        float(layer.contrastive_weight * contrastive / total),
        draws.rows,
    )


def reseed(layer: QuantizedEmbedding, health: TableHealth) -> int:
    """Moves dead codes onto drawn rows; returns how many.

    A moved code keeps the row's first-order values as they were.

    Args:
        layer: the table.
        health: what `measure` has just found in it.
    """
    codebooks = raw(layer.codebooks).numpy()
    moving = getattr(layer, "moving", None)
    sums = None if moving is None else raw(moving).numpy()
    shape = (*codebooks.shape[:2], layer.additive_dim)
    additive = None
    if layer.additive_dim:
        additive = raw(layer.additive).numpy().reshape(shape)
    moved = 0
    for column in range(layer.num_codes):
        seeds = health.seeds[column][health.seeds[column] >= 0]
        dead = np.flatnonzero(health.dead[column])[: len(seeds)]
        if not len(dead):
            continue
        moved += len(dead)
        _, codes, parts, _ = _quantize(
            layer, seeds[: len(dead)], tf.convert_to_tensor(codebooks)
        )
        entries = parts[column].numpy()
        codebooks[column, dead] = entries
        if additive is not None:
            present = codes[:, column].numpy()
            additive[column, dead] = additive[column, present]
        if sums is not None:
            share = sums[column, :, -1].mean()
            ones = np.ones_like(entries[:, :1])
            sums[column, dead] = np.append(entries, ones, 1) * share
    if moved:
        raw(layer.codebooks).assign(codebooks)
        if sums is not None:
            raw(moving).assign(sums)
        if additive is not None:
            flat = additive.reshape(-1, layer.additive_dim)
            raw(layer.additive).assign(flat)
    return moved


class _Draws:
    """Rows drawn without replacement, by weight, while chunks pass by.

    The rows with the largest `log(u) / weight` are such a sample (Efraimidis
    and Spirakis, "Weighted random sampling with a reservoir", 2006).
    """

    def __init__(self, shape: tuple[int, int], seed: int):
        self._rng = np.random.default_rng(seed)
        self._keys = np.full(shape, -np.inf)
        self.rows = np.full(shape, -1, np.int64)

    def add(self, rows: np.ndarray, weights: np.ndarray) -> None:
        """Offers rows `[n]` with their weights `[n, M]`."""
        # 1 - u lies in (0, 1].
        logs = np.log(1.0 - self._rng.random(weights.shape))
        keys = np.full(weights.shape, -np.inf)
        np.divide(logs, weights, out=keys, where=weights > 0)
        for column, kept in enumerate(self._keys):
            both = np.append(kept, keys[:, column])
            names = np.append(self.rows[column], rows)
            best = np.argsort(-both, kind="stable")[: len(kept)]
            self._keys[column] = both[best]
            self.rows[column] = np.where(
                np.isfinite(both[best]), names[best], -1
            )


def _quantize(layer, rows, codebooks):
    """Rows in code space, codes, what each stands for, entries `[n, M, d]`."""
    inner = layer.to_code_space(tf.gather(raw(layer.embeddings), rows))
    codes, parts = layer.quantizer.assign(inner, codebooks)
    flat = product.flat_index(codes, layer.codebook_size)
    width = codebooks.shape[-1]
    entries = tf.gather(tf.reshape(codebooks, [-1, width]), flat)
    return inner, codes, parts, entries


def _pwr(layer, chunks, counts, codebooks, temperature):
    mass = np.zeros((layer.num_codes, layer.codebook_size))
    for rows in chunks:
        _, _, parts, _ = _quantize(layer, rows, codebooks)
        norms = tf.reduce_sum(tf.square(parts), axis=-1, keepdims=True)
        gaps = tf.maximum(product.distances(parts, codebooks) + norms, 0.0)
        soft = tf.nn.softmax(-gaps / temperature, axis=-1)
        weights = popularity_weight(tf.constant(counts[rows], tf.float32))
        mass += tf.einsum("n,mnk->mk", weights, soft).numpy()
    return float(np.log(layer.codebook_size) - np.mean(_entropy(mass)))


def _entropy(mass: np.ndarray) -> np.ndarray:
    """Entropy, in nats, of each row of masses."""
    shares = mass / mass.sum(axis=1, keepdims=True)
    logs = np.log(shares, out=np.zeros_like(shares), where=shares > 0)
    return -(shares * logs).sum(axis=1)
