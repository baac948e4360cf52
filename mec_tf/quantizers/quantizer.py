"""What all quantizers share."""

import abc
import concurrent.futures

import numpy as np
import tensorflow as tf

from mec_tf.quantizers import packing
from mec_tf.quantizers.finite import check_finite
from mec_tf.quantizers.nearest import rows_at_once


class Quantizer(abc.ABC):
    """Replaces a vector by `num_codes` entries of as many codebooks.

    A strategy without state: codebooks, float `[M, K, entry_dim]`, are passed
    in. A subclass says what each code stands for (`assign`), how entries make
    a vector (`join`), and how codebooks are found (`fit`).
    """

    codebook_size: int

    @property
    @abc.abstractmethod
    def num_codes(self) -> int:
        """`M`, codes a row."""

    @abc.abstractmethod
    def check_dim(self, dim: int) -> None:
        """Raises ValueError unless vectors of width `dim` can be quantized."""

    @abc.abstractmethod
    def entry_dim(self, dim: int) -> int:
        """Width of a codebook entry for vectors of width `dim`."""

    @abc.abstractmethod
    def assign(
        self, vectors: tf.Tensor, codebooks: tf.Tensor, exact: bool = True
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Codes of vectors, and what each code stands for.

        Args:
            vectors: `[n, D]`.
            codebooks: `[M, K, entry_dim]`.
            exact: whether a vector gets the same code however this is run.
                Training, where codebooks move on, does without: in float32
                alone it is up to twice as fast.

        Returns:
            int32 codes `[n, M]` (the lowest of equally near ones), and the
            parts `[M, n, entry_dim]` that the codes approximate, with a
            gradient to `vectors`.
        """

    @abc.abstractmethod
    def join(self, entries: tf.Tensor) -> tf.Tensor:
        """Vectors `[..., D]` of codebook entries `[..., M, entry_dim]`."""

    @abc.abstractmethod
    def fit(
        self,
        table: np.ndarray,
        weights: np.ndarray | None = None,
        *,
        seed: int = 0,
    ) -> np.ndarray:
        """Codebooks for a table, by weighted k-means.

        Args:
            table: float `[N, D]`, finite (may be memory-mapped).
            weights: `[N]` row weights, by default all one.
            seed: of the k-means seeds.

        Returns:
            float32 `[M, K, entry_dim]`.
        """

    def encode(
        self,
        table: np.ndarray,
        codebooks: np.ndarray,
        rotation: np.ndarray | None = None,
    ) -> np.ndarray:
        """Nearest codes, packed: uint8 or uint16 `[N, M]`; in chunks.

        Rows are multiplied by `rotation` `[D, rank]` first, where there is one.

        Raises:
            ValueError: if the table, rotated or not, or a codebook is not
                finite in float32.
        """
        coded = table if rotation is None else rotation
        self.check_dim(coded.shape[1])
        codes = np.empty(
            (len(table), self.num_codes), packing.code_dtype(self.codebook_size)
        )
        check_finite("codebooks", codebooks)
        books = tf.constant(codebooks, tf.float32)
        turn = None if rotation is None else tf.constant(rotation, tf.float32)
        at_once = rows_at_once(*books.shape[:2])

        def encode_from(start: int) -> None:
            rows = np.asarray(table[start : start + at_once])
            check_finite("table", rows, first_row=start)
            vectors = tf.constant(rows, tf.float32)
            if turn is not None:
                # As the layers do it, so that they find the same codes.
                vectors = tf.matmul(vectors, turn)
                check_finite("table @ rotation", vectors.numpy())
            chunk, _ = self.assign(vectors, books)
            codes[start : start + len(rows)] = chunk.numpy()

        # Two at a time: one is read and checked while one is computed.
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            for _ in pool.map(encode_from, range(0, len(table), at_once)):
                pass
        return codes

    def decode(self, codes: np.ndarray, codebooks: np.ndarray) -> np.ndarray:
        """Vectors of `codes`: float32 `[n, D]`."""
        places = np.arange(self.num_codes)
        entries = np.asarray(codebooks, np.float32)[
            places, codes.astype(np.int64)
        ]
        return self.join(tf.constant(entries)).numpy()
