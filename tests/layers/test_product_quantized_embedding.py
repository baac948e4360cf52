import numpy as np
import pytest
import tensorflow as tf

from mec_tf.layers import ProductQuantizedEmbedding
from mec_tf.losses import PopularityWeightedRegularization
from mec_tf.quantizers import ProductQuantizer, fit_additive, product
from tests.harness import raw_variable, run_layer_test

IDS = np.array([[1, 2, 0], [4, 5, 3]], "int32")
RNG = np.random.default_rng(0)
TABLE = RNG.normal(size=(30, 4)).astype("float32")


def value(weight):
    return raw_variable(weight).numpy()


def started(**config):
    """A layer of 30 rows of width 4 (2 sub-spaces, 4 codes) from TABLE."""
    settings = {"commitment_weight": 0.0, **config}
    layer = ProductQuantizedEmbedding(30, 4, 2, 4, **settings)
    layer.warm_start(TABLE)
    return layer


def quantized(layer, rows):
    quantizer = ProductQuantizer(layer.num_subspaces, layer.codebook_size)
    books = value(layer.codebooks)
    return quantizer.decode(
        quantizer.encode(value(layer.embeddings)[rows], books), books
    )


def test_contract_of_moving_averages():
    run_layer_test(
        ProductQuantizedEmbedding,
        {
            "input_dim": 6,
            "output_dim": 5,
            "num_subspaces": 2,
            "codebook_size": 4,
            "additive_dim": 1,
            "private_rows": 5,
            "mask_zero": True,
            "oov": 2,
            "ema_decay": 0.9,
            "commitment_weight": 0.2,
            "pwr_weight": 0.1,
            "contrastive_weight": 0.3,
            "num_negatives": 2,
            "temperature": 0.5,
        },
        IDS,
        expected_output_shape=(2, 3, 5),
        expected_mask=IDS != 0,
        expected_num_trainable_weights=2,
        expected_num_non_trainable_weights=4,
        prepare=lambda layer: layer.adapt(np.array([1, 1, 2, 5])),
        supports_ragged=True,
    )


def test_contract_of_gradient_codebooks():
    run_layer_test(
        ProductQuantizedEmbedding,
        {
            "input_dim": 6,
            "output_dim": 4,
            "num_subspaces": 2,
            "codebook_size": 4,
            "codebook_update": "gradient",
            "track_usage": True,
            "embeddings_initializer": "glorot_uniform",
            "embeddings_regularizer": "l2",
            "embeddings_constraint": "non_neg",
        },
        IDS,
        expected_output_shape=(2, 3, 4),
        expected_num_trainable_weights=2,
        supports_ragged=True,
    )


@pytest.mark.parametrize("training", [False, True])
def test_answers_with_the_quantized_rows(training):
    layer = started()
    ids = np.array([[3, 29], [0, 3]])
    expected = quantized(layer, ids.reshape(-1)).reshape(2, 2, 4)
    np.testing.assert_allclose(
        layer(ids, training=training), expected, atol=1e-6
    )


def test_gradients_pass_straight_through_to_the_rows():
    layer = started()
    ids, upstream = np.array([7, 2, 7]), RNG.normal(size=(3, 4))
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(layer(ids, training=True) * upstream)
    gradient = tape.gradient(total, raw_variable(layer.embeddings))
    assert isinstance(gradient, tf.IndexedSlices)
    expected = np.zeros((30, 4))
    np.add.at(expected, ids, upstream)
    np.testing.assert_allclose(
        tf.convert_to_tensor(gradient), expected, rtol=1e-6
    )


def test_moving_averages_follow_the_formula():
    layer = started(ema_decay=0.9)
    ids = RNG.integers(0, 30, size=50)
    rows, books = TABLE[ids], value(layer.codebooks)
    codes = ProductQuantizer(2, 4).encode(rows, books)
    expected = np.concatenate([books, np.ones((2, 4, 1))], axis=-1)
    for m in range(2):
        for k in range(4):
            mine = rows[codes[:, m] == k, 2 * m : 2 * m + 2]
            sums = [*mine.sum(axis=0), len(mine)]
            expected[m, k] = 0.9 * expected[m, k] + 0.1 * np.array(sums)
    layer(ids, training=True)
    np.testing.assert_allclose(value(layer.moving), expected, rtol=1e-5)
    np.testing.assert_allclose(
        value(layer.codebooks),
        expected[..., :2] / expected[..., 2:],
        rtol=1e-5,
    )


def test_inference_moves_nothing():
    layer = started(pwr_weight=1.0, contrastive_weight=1.0)
    before = [value(w) for w in layer.weights]
    layer(IDS)
    for weight, old in zip(layer.weights, before, strict=True):
        np.testing.assert_array_equal(value(weight), old)
    assert not layer.losses


def test_dead_codes_move_onto_rows_of_the_batch():
    layer = started()
    moving = value(layer.moving)
    moving[0, 2] = [1000.0, 1000.0, 1.0]  # far from every row
    moving[..., 2] *= 1000.0
    moving[0, 2, 2] = 0.1
    raw_variable(layer.moving).assign(moving)
    books = value(layer.codebooks)
    books[0, 2] = 1000.0
    raw_variable(layer.codebooks).assign(books)
    ids = np.array([4, 8, 15])
    layer(ids, training=True)
    code = value(layer.codebooks)[0, 2]
    gaps = np.abs(TABLE[ids, :2] - code).max(axis=1)
    assert gaps.min() < 1e-5
    counts = value(layer.moving)[0, :, 2]
    assert counts[2] > 0.5 * counts.mean()


def test_gradient_codebooks_learn():
    layer = started(codebook_update="gradient")
    books = RNG.normal(size=(2, 4, 2)).astype("float32")
    raw_variable(layer.codebooks).assign(books)
    ids = np.arange(30)

    def error():
        return np.square(quantized(layer, ids) - TABLE).mean()

    before = error()
    optimizer = tf.keras.optimizers.SGD(1.0)
    for _ in range(30):
        with tf.GradientTape() as tape:
            layer(ids, training=True)
            loss = sum(layer.losses)
        variable = layer.codebooks
        gradient = tape.gradient(loss, raw_variable(variable))
        optimizer.apply_gradients([(gradient, variable)])
    assert error() < 0.8 * before


def test_codebooks_get_no_gradient_but_from_the_losses():
    layer = started(commitment_weight=1.0)
    assert [id(w) for w in layer.trainable_weights] == [id(layer.embeddings)]
    with tf.GradientTape() as tape:
        tape.watch(raw_variable(layer.codebooks))
        output = layer(IDS, training=True)
        total = tf.reduce_sum(output) + sum(layer.losses)
    assert tape.gradient(total, raw_variable(layer.codebooks)) is None


def test_commitment_weight_adds_that_loss():
    layer = started(commitment_weight=0.3)
    ids = IDS.reshape(-1)
    gap = TABLE[ids] - quantized(layer, ids)
    layer(IDS, training=True)
    (loss,) = layer.losses
    expected = 0.3 * np.square(gap).sum(-1).mean()
    np.testing.assert_allclose(loss, expected, rtol=1e-5)


def test_pwr_weight_adds_that_loss():
    layer = started(pwr_weight=0.3)
    counts = RNG.integers(0, 50, size=30)
    layer.add_counts(counts)
    expected = PopularityWeightedRegularization().of_batch(
        tf.constant(counts[IDS.reshape(-1)], tf.float32),
        product.split(tf.constant(TABLE[IDS.reshape(-1)]), 2),
        tf.constant(value(layer.codebooks)),
    )
    layer(IDS, training=True)
    (loss,) = layer.losses
    assert expected > 0.01
    np.testing.assert_allclose(loss, 0.3 * expected, rtol=1e-5)


def test_contrastive_weight_adds_that_loss():
    # Of one sub-space and two codes the negative is always the other code.
    layer = ProductQuantizedEmbedding(
        30,
        4,
        num_subspaces=1,
        codebook_size=2,
        commitment_weight=0.0,
        contrastive_weight=0.3,
        temperature=0.5,
    )
    layer.warm_start(TABLE)
    rows = TABLE[IDS.reshape(-1)]
    (books,) = value(layer.codebooks)
    norms = np.linalg.norm(rows, axis=1)[:, None]
    cosines = rows @ books.T / norms / np.linalg.norm(books, axis=1)
    nearest = np.square(rows[:, None] - books).sum(-1).argmin(axis=1)
    powers = np.exp(cosines / 0.5)
    shares = powers[np.arange(6), nearest] / powers.sum(axis=1)
    layer(IDS, training=True)
    (loss,) = layer.losses
    np.testing.assert_allclose(loss, -0.3 * np.log(shares).mean(), rtol=1e-5)


def test_gradient_update_adds_the_codebook_loss():
    layer = started(codebook_update="gradient")
    ids = IDS.reshape(-1)
    gap = TABLE[ids] - quantized(layer, ids)
    layer(IDS, training=True)
    (loss,) = layer.losses
    np.testing.assert_allclose(loss, np.square(gap).sum(-1).mean(), rtol=1e-5)


@pytest.mark.parametrize("update", ["ema", "gradient"])
def test_usage_metrics_appear_in_logs(update):
    layer = started(track_usage=True, codebook_update=update, name="item")
    model = tf.keras.Sequential([layer, tf.keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    ids = np.full((6, 1), 3)
    logs = model.fit(ids, np.zeros((6, 1, 1)), verbose=0).history
    # One row uses one of four codes in each sub-space.
    np.testing.assert_allclose(logs["item_usage"], [0.25])
    np.testing.assert_allclose(logs["item_perplexity"], [1.0], rtol=1e-6)


def test_warm_start_copies_rows_and_fits_codebooks():
    layer = ProductQuantizedEmbedding(30, 4, 2, 4)
    counts = np.arange(30)
    layer.add_counts(counts)
    layer.warm_start(TABLE, seed=3)
    books = ProductQuantizer(2, 4).fit(TABLE, counts, seed=3)
    np.testing.assert_array_equal(value(layer.embeddings), TABLE)
    np.testing.assert_array_equal(value(layer.codebooks), books)
    np.testing.assert_array_equal(value(layer.moving)[..., :2], books)
    np.testing.assert_array_equal(value(layer.moving)[..., 2], 1.0)


@pytest.mark.parametrize("shape", [(29, 4), (30, 5)])
def test_warm_start_of_another_shape(shape):
    with pytest.raises(ValueError, match=r"`table` must be \[30, 4\]"):
        started().warm_start(np.zeros(shape))


def test_additive_columns_ride_on_the_codes():
    # Rows that lie on a grid, and a weight that is a sum over its axes.
    left, right = np.divmod(np.arange(16), 4)
    table = np.stack([left, right, 0.5 * left - 2.0 * right], axis=1)
    layer = ProductQuantizedEmbedding(16, 3, 2, 4, additive_dim=1)
    layer.warm_start(table)
    np.testing.assert_allclose(layer(np.arange(16)), table, atol=1e-4)
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(layer(tf.constant([1, 2]), training=True)[:, 2])
    gradient = tape.gradient(total, raw_variable(layer.additive))
    codes = layer.encode()[[1, 2]] + [0, 4]
    expected = np.zeros((8, 1))
    np.add.at(expected, codes.reshape(-1), 1.0)
    np.testing.assert_array_equal(tf.convert_to_tensor(gradient), expected)


def test_additive_fit_is_the_weighted_mean_for_one_subspace():
    codes = np.array([[0], [0], [1]])
    targets = np.array([[1.0], [4.0], [7.0]])
    fitted = fit_additive(codes, targets, np.array([2.0, 1.0, 1.0]), 3)
    np.testing.assert_allclose(fitted[:, 0], [2.0, 7.0, 0.0])
    unweighted = fit_additive(codes, targets, np.zeros(3), 3)
    np.testing.assert_allclose(unweighted[:, 0], [2.5, 7.0, 0.0])


def test_adapt_counts_ids_of_every_kind():
    layer = ProductQuantizedEmbedding(6, 4, private_rows=4)
    layer.adapt(np.array([[1, 1], [5, 4]], "uint8"))
    layer.adapt(tf.data.Dataset.from_tensor_slices([2, 2, 3, -1, 6]).batch(2))
    # Rows 4 and 5 share row 0; -1 and 6 are no rows.
    np.testing.assert_array_equal(value(layer.popularity), [2, 2, 2, 1])


def test_add_counts_of_another_shape():
    with pytest.raises(ValueError, match=r"shape \(6,\). Received .*\(5,\)"):
        ProductQuantizedEmbedding(6, 4).add_counts(np.ones(5))


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"additive_dim": 1, "num_subspaces": 1},
        {"private_rows": 20},
        {"codebook_update": "gradient", "codebook_size": 300},
    ],
    ids=["plain", "additive", "shared_rows", "uint16"],
)
def test_freeze_answers_bit_for_bit(config):
    settings = {"num_subspaces": 2, "codebook_size": 4, **config}
    layer = ProductQuantizedEmbedding(30, 4, oov=3, **settings)
    layer.warm_start(TABLE)
    layer(np.arange(30), training=True)
    frozen = layer.freeze()
    ids = np.array([[0, 1, 29], [40, -1, 17]])
    np.testing.assert_array_equal(frozen(ids), layer(ids))
    assert frozen.name == layer.name
    assert frozen.stored_rows == layer.stored_rows


def test_freeze_takes_other_settings():
    frozen = started().freeze(codebook_dtype="float16", name="codes")
    assert frozen.name == "codes"
    assert raw_variable(frozen.codebooks).dtype == tf.float16


def test_rows_beyond_the_private_ones_share_row_zero():
    layer = ProductQuantizedEmbedding(30, 4, 2, 4, private_rows=3)
    layer.warm_start(TABLE)
    assert value(layer.embeddings).shape == (3, 4)
    rows = layer(np.arange(30)).numpy()
    np.testing.assert_array_equal(rows[3:], np.tile(rows[0], (27, 1)))


@pytest.mark.parametrize("jit_compile", [False, True])
def test_fit_builds_and_trains_rows_and_codebooks(jit_compile):
    layer = ProductQuantizedEmbedding(30, 4, 2, 4)
    model = tf.keras.Sequential([layer, tf.keras.layers.Dense(1)])
    model.compile("sgd", "mse", jit_compile=jit_compile)
    data = tf.data.Dataset.from_tensors((IDS, np.ones((2, 3, 1)))).repeat(5)
    losses = model.fit(data, epochs=3, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    assert np.abs(value(layer.moving)[..., 2] - 1.0).max() > 1e-3


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"num_subspaces": 3}, "num_subspaces=3, width to divide=4"),
        ({"codebook_update": "sgd"}, "codebook_update='sgd'"),
        ({"ema_decay": 1.0}, "ema_decay=1.0"),
        ({"commitment_weight": -1}, "commitment_weight=-1"),
        ({"pwr_weight": float("nan")}, "pwr_weight=nan"),
        ({"contrastive_weight": -0.1}, "contrastive_weight=-0.1"),
        ({"num_negatives": 0}, "num_negatives=0"),
        ({"temperature": 0.0}, "temperature=0.0"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        ProductQuantizedEmbedding(6, 4, **arguments)


def test_ids_out_of_range_and_padding_leave_codebooks_alone():
    layer = started(mask_zero=True, commitment_weight=0.5, pwr_weight=0.5)
    layer.adapt(np.arange(30))
    clean = started(mask_zero=True, commitment_weight=0.5, pwr_weight=0.5)
    clean.adapt(np.arange(30))
    layer(np.array([3, -1, 0, 30, 7, 0]), training=True)
    clean(np.array([3, 7]), training=True)
    np.testing.assert_allclose(value(layer.moving), value(clean.moving))
    np.testing.assert_allclose(
        [float(x) for x in layer.losses], [float(x) for x in clean.losses]
    )


def test_an_empty_batch_moves_nothing():
    layer = started(commitment_weight=0.5, pwr_weight=0.5, track_usage=True)
    before = value(layer.moving)
    layer(np.zeros([0], "int32"), training=True)
    np.testing.assert_array_equal(value(layer.moving), before)
    assert all(np.isfinite(float(loss)) for loss in layer.losses)


@pytest.mark.parametrize("additive", [0, 1])
def test_rank_keeps_what_few_dimensions_hold(additive):
    mixing = RNG.normal(size=(2, 8))
    table = RNG.normal(size=(300, 2)) @ mixing
    table = np.concatenate([table, RNG.normal(size=(300, additive))], 1)
    layers = [
        ProductQuantizedEmbedding(
            300, 8 + additive, 2, 64, rotated=True, rank=rank,
            additive_dim=additive,
        )
        for rank in (None, 2)
    ]  # fmt: skip
    ids = np.arange(300)
    errors = []
    for layer in layers:
        layer.warm_start(table)
        errors.append(np.square(layer(ids) - table)[:, :8].sum())
    thin = layers[1]
    assert errors[1] < 1.05 * errors[0]
    assert value(thin.codebooks).shape == (2, 64, 1)
    assert value(thin.rotation).shape == (8, 2)
    frozen = thin.freeze(codebook_dtype="float32")
    np.testing.assert_allclose(frozen(ids), thin(ids), atol=1e-5)
    remade = type(frozen).from_config(frozen.get_config())
    remade.build((None,))
    remade.set_weights(frozen.get_weights())
    np.testing.assert_array_equal(remade(ids), frozen(ids))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rank": 2}, "`rank` .*Received: rank=2, rotated=False"),
        ({"rank": 10, "rotated": True}, "between 1 and the 8 columns"),
        ({"rank": 3, "rotated": True}, "`num_subspaces` must divide"),
    ],
)
def test_ranks_out_of_range(settings, message):
    with pytest.raises(ValueError, match=message):
        ProductQuantizedEmbedding(10, 8, 2, 4, **settings)


@pytest.mark.parametrize("additive", [0, 1])
def test_rotation_loses_less_and_freezes(additive):
    # Correlated columns, which sub-spaces cut apart.
    mixing = RNG.normal(size=(2, 8))
    table = RNG.normal(size=(400, 2)) @ mixing
    table = np.concatenate([table, RNG.normal(size=(400, additive))], 1)
    table = table.astype("float32")
    errors = []
    for rotated in (False, True):
        layer = ProductQuantizedEmbedding(
            400, 8 + additive, 4, 16, rotated=rotated, additive_dim=additive
        )
        layer.warm_start(table)
        ids = np.arange(400)
        answer = layer(ids).numpy()
        errors.append(np.square(answer - table)[:, :8].sum())
        np.testing.assert_allclose(layer.freeze()(ids), answer, atol=1e-5)
    assert errors[1] < 0.7 * errors[0]
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(layer(ids, training=True)[:, :8])
    gradient = tape.gradient(total, raw_variable(layer.embeddings))
    np.testing.assert_allclose(tf.convert_to_tensor(gradient), 1.0)


def test_contract_with_rotation():
    run_layer_test(
        ProductQuantizedEmbedding,
        {
            "input_dim": 6,
            "output_dim": 4,
            "num_subspaces": 2,
            "codebook_size": 4,
            "rotated": True,
        },
        IDS,
        expected_output_shape=(2, 3, 4),
        expected_num_trainable_weights=1,
        expected_num_non_trainable_weights=5,
        supports_ragged=True,
    )
