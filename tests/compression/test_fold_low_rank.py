import numpy as np
import pytest
import tensorflow as tf

from mec_tf.compression import fold_low_rank
from mec_tf.layers import LowRankEmbedding, TableEmbedding

IDS = np.random.default_rng(0).integers(0, 30, (8, 3)).astype("int32")


def model(use_bias=True, **kwargs):
    table = np.random.default_rng(1).normal(size=(30, 6)) + 1.0
    made = tf.keras.Sequential(
        [
            LowRankEmbedding.from_table(table, 2, name="table", **kwargs),
            tf.keras.layers.Flatten(),
            tf.keras.layers.Dense(5, "relu", use_bias, name="hidden"),
            tf.keras.layers.Dense(1),
        ]
    )
    made(IDS)
    return made


@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize("additive_dim", [0, 1])
@pytest.mark.parametrize("oov", ["zero", 2])
def test_answers_alike_with_a_smaller_kernel(
    use_bias, additive_dim, oov, tmp_path
):
    whole = model(use_bias, additive_dim=additive_dim, private_rows=25, oov=oov)
    copy = fold_low_rank(whole, IDS)
    assert isinstance(copy.layers[0], TableEmbedding)
    width = 2 + additive_dim + (oov == "zero")
    assert copy.layers[2].kernel.shape == (3 * width, 5)
    assert copy.layers[2].use_bias == (use_bias or oov != "zero")
    out_of_range = np.array([[-1, 3, 30]], "int32")
    for ids in (IDS, out_of_range):
        np.testing.assert_allclose(copy(ids), whole(ids), atol=1e-5)
    path = str(tmp_path / "model.keras")
    copy.save(path)
    loaded = tf.keras.models.load_model(path)
    np.testing.assert_array_equal(loaded(IDS), copy(IDS))


def test_what_cannot_be_folded():
    with pytest.raises(ValueError, match="row_dtype='float16'"):
        fold_low_rank(model(row_dtype="float16"), IDS)
    plain = tf.keras.Sequential([tf.keras.layers.Dense(1)])
    with pytest.raises(ValueError, match="must hold a LowRankEmbedding"):
        fold_low_rank(plain, IDS)
    with pytest.raises(TypeError, match="must be a tf.keras.Sequential"):
        fold_low_rank(tf.keras.layers.Dense(1), IDS)
