"""A small trained-looking ranking model, its vocabularies and a raw batch."""

import numpy as np
import pytest
import tensorflow as tf

from mec_tf.data import Vocabulary
from mec_tf.layers import CodeLookupEmbedding, TableEmbedding
from mec_tf.models import DeepFM


@pytest.fixture
def vocabularies():
    return {
        "user id": Vocabulary(
            [f"u{i}" for i in range(299)], np.arange(300)[::-1]
        ),
        "Num": Vocabulary([7, -5, 7_000_000_000], [0, 3, 2, 1]),
        "odd": Vocabulary(["a\tb", "c\r\nd\\n", "", "é ü", "\\0"], [0] * 6),
    }


@pytest.fixture
def model(vocabularies):
    """Codes, a full-precision table, one quantized after training."""
    rng = np.random.default_rng(1)
    codes = CodeLookupEmbedding.from_codes(
        rng.integers(0, 16, (300, 2)),
        rng.normal(size=(2, 16, 5)),
        additive_dim=1,
    )
    model = DeepFM(
        {name: v.size for name, v in vocabularies.items()},
        {"price": (0.5, 2.0)},
        embedding_dim=8,
        hidden_units=(8,),
        embedding_layer={
            "user id": codes,
            "Num": CodeLookupEmbedding.from_table(
                rng.normal(size=(4, 9)), num_subspaces=3, codebook_size=3
            ),
            "odd": TableEmbedding(6, 9, embeddings_initializer="normal"),
        },
    )
    model.build(None)
    return model


@pytest.fixture
def raw_batch():
    """Raw values as `serving_default` takes them, and the ids they mean."""
    raw = {
        "user_id": tf.constant(["u0", "u298", "nobody", ""]),
        "Num": tf.constant([7, 7_000_000_000, -5, 0], tf.int64),
        "odd": tf.constant(["c\r\nd\\n", "", "\\0", "a"]),
        "price": tf.constant([1.5, float("nan"), -3.0, 0.0]),
    }
    ids = {
        "user id": tf.constant([1, 299, 0, 0]),
        "Num": tf.constant([1, 3, 2, 0]),
        "odd": tf.constant([2, 3, 5, 0]),
        "price": raw["price"],
    }
    return raw, ids
