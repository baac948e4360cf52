"""Steps of codebooks that move by averages of the rows assigned to them."""

import tensorflow as tf

# Codes whose moving count falls under this share of an equal share of the
# sub-space's assignments are moved onto a row of the present batch.
DEAD_SHARE = 0.01


def draw_seeds(
    points: tf.Tensor, lookups: tf.Tensor, codebook_size: int, seed: tf.Tensor
) -> tf.Tensor:
    """A random counted row of the batch for every code: `[M, K, d]`.

    Args:
        points: `[n, M, d]`, the rows' parts.
        lookups: `[n]`, how often each row counts.
        codebook_size: `K`.
        seed: integers `[2]` of the draw.
    """
    upto = tf.cumsum(lookups)
    places = tf.random.stateless_uniform([codebook_size], seed, alg="philox")
    places *= tf.reduce_sum(lookups)
    drawn = tf.searchsorted(upto, places, side="right")
    # Where no row counts none is drawn, but the shape must hold.
    padded = tf.pad(points, [[0, 1], [0, 0], [0, 0]])
    return tf.transpose(tf.gather(padded, drawn), [1, 0, 2])


def moved(
    moving: tf.Tensor, sums: tf.Tensor, seeds: tf.Tensor, decay: float
) -> tf.Tensor:
    """Moving sums and counts after a batch; one without rows moves nothing.

    Args:
        moving: `[M, K, d + 1]`, moving sums and, last, moving counts.
        sums: the same, of the batch.
        seeds: `[M, K, d]`, where codes out of use go.
        decay: of the moving averages.
    """
    fresh = reseed(moving + (1.0 - decay) * (sums - moving), seeds)
    return tf.where(tf.reduce_sum(sums[..., -1]) > 0, fresh, moving)


def usage(counts: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Share of codes in use, and perplexity, of counts `[M, K]`."""
    shares = tf.math.divide_no_nan(
        counts, tf.reduce_sum(counts, axis=-1, keepdims=True)
    )
    used = tf.cast(shares > 0, tf.float32)
    entropy = -tf.reduce_sum(tf.math.xlogy(shares, shares), axis=-1)
    return tf.reduce_mean(used), tf.reduce_mean(tf.exp(entropy))


def over_replicas(
    sums: tf.Tensor, seeds: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """The sums of all replicas and the seeds of the first, for each of them.

    Replicas whose codebooks moved by their own rows would drift apart.
    """
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return sums, seeds
    first = tf.cast(tf.equal(context.replica_id_in_sync_group, 0), seeds.dtype)
    # One tensor: two reductions may meet in another order on each replica.
    joined = tf.concat([sums, seeds * first], axis=-1)
    joined = context.all_reduce(tf.distribute.ReduceOp.SUM, joined)
    width = sums.shape[-1]
    return joined[..., :width], joined[..., width:]


def reseed(moving: tf.Tensor, seeds: tf.Tensor) -> tf.Tensor:
    """Moves codes out of use onto their seeds.

    Args:
        moving: `[M, K, d + 1]`, moving sums and, last, moving counts.
        seeds: `[M, K, d]`.

    Returns:
        `moving`, with the dead codes at their seeds and an average count.
    """
    counts = moving[..., -1:]
    share = tf.reduce_mean(counts, axis=1, keepdims=True)
    fresh = tf.concat([seeds, tf.ones_like(seeds[..., :1])], -1) * share
    return tf.where(counts < DEAD_SHARE * share, fresh, moving)
