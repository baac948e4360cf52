"""Codebook entries of codes: looked up, or added up while looked up."""

import tensorflow as tf

DECODES = ("auto", "gather", "one_hot")


def multiplied(
    codebooks: tf.Variable, codes: tf.Tensor, codebook_size: int
) -> tf.Tensor:
    """Entries `[..., M, width]` of codes, by a product with one-hot rows.

    `K` times the arithmetic of a gather: for matrix hardware.

    Args:
        codebooks: `[M * K, width]`.
        codes: integers `[..., M]`.
        codebook_size: `K`.
    """
    books = tf.reshape(
        codebooks, [codes.shape[-1], codebook_size, codebooks.shape[-1]]
    )
    hot = tf.one_hot(tf.cast(codes, tf.int32), codebook_size, dtype=books.dtype)
    return tf.einsum("...mk,mkd->...md", hot, books)


def decode_of(decode: str) -> str:
    """Which of the two ways "auto" means: "one_hot" where there is a TPU."""
    if decode != "auto":
        return decode
    return "one_hot" if tf.config.list_logical_devices("TPU") else "gather"


def summed(
    codebooks: tf.Tensor,
    codes: tf.Tensor,
    weights: tf.Tensor | None,
    segments: tf.Tensor,
    num_segments: tf.Tensor,
) -> tf.Tensor:
    """Weighted sums of entries, of which no more are held than the sums.

    Args:
        codebooks: float32 `[M, K, width]`.
        codes: integers `[n, M]`.
        weights: float32 `[n]`, or None for ones.
        segments: integers `[n]` that do not decrease: the sum that each of
            the codes goes to.
        num_segments: scalar int32, how many sums there are.

    Returns:
        float32 `[num_segments, M, width]`.
    """
    sums = []
    for place, book in enumerate(tf.unstack(codebooks)):
        own = tf.cast(codes[:, place], tf.int32)
        if weights is None:
            total = tf.sparse.segment_sum(
                book, own, segments, num_segments=num_segments
            )
        else:
            places = tf.stack([segments, tf.cast(own, segments.dtype)], axis=1)
            shape = tf.stack([num_segments, tf.shape(book)[0]])
            matrix = tf.SparseTensor(
                tf.cast(places, tf.int64), weights, tf.cast(shape, tf.int64)
            )
            total = tf.sparse.sparse_dense_matmul(matrix, book)
        sums.append(total)
    return tf.stack(sums, axis=1)
