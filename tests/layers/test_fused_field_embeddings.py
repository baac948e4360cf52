"""Fused tables answer as the separate ones, bit for bit."""

import numpy as np
import pytest
import tensorflow as tf

from mec_tf.compression.counting import layer_bytes, model_bytes
from mec_tf.layers import (
    CodeLookupEmbedding,
    FieldEmbeddings,
    FusedCodeLookupEmbedding,
    FusedFieldEmbeddings,
    FusedTableEmbedding,
    ProductQuantizedEmbedding,
    TableEmbedding,
    TieredEmbedding,
)
from mec_tf.layers.nesting import build_inner
from tests.harness import (
    assert_allclose,
    assert_identical,
    raw_variable,
    run_layer_test,
)

RNG = np.random.default_rng(0)
WIDTH = 6
ROWS = {"c": 30, "a": 7, "b": 12}  # Keras 2 sorts the items of a dict
IDS = np.array([0, 1, 6, 11, 29, -1, 7, 30, 12, 10**6], "int64")


def codes(rows, size=5, stored=None, residual=False, subspaces=3, **config):
    width = WIDTH if residual else WIDTH // subspaces
    return CodeLookupEmbedding.from_codes(
        RNG.integers(0, size, (stored or rows, subspaces)),
        RNG.normal(size=(subspaces, size, width)),
        input_dim=rows,
        private_rows=stored,
        additive_dim=WIDTH if residual else 0,
        **config,
    )


def additive(rows, subspaces=2, sums=2):
    width = (WIDTH - sums) // subspaces + sums
    return CodeLookupEmbedding.from_codes(
        RNG.integers(0, 4, (rows, subspaces)),
        RNG.normal(size=(subspaces, 4, width)),
        additive_dim=sums,
    )


def exact(rows, **config):
    return TableEmbedding(
        rows, WIDTH, embeddings_initializer="normal", **config
    )


LAYOUTS = {
    "codes": codes,
    "wide codes": lambda rows: codes(rows, size=300),
    "half": lambda rows: codes(rows, codebook_dtype="float16"),
    "bits": lambda rows: codes(rows, bit_packed=True),
    # Two rows a byte: tables start at whole bytes.
    "shared bytes": lambda rows: codes(
        rows, size=4, subspaces=2, bit_packed=True
    ),
    "eight rows a byte": lambda rows: codes(
        rows, size=2, subspaces=1, bit_packed=True
    ),
    "residual": lambda rows: codes(rows, residual=True),
    "three sums": lambda rows: additive(rows, subspaces=3, sums=3),
    "additive": additive,
    "private": lambda rows: codes(rows, stored=rows - 3),
    "exact": exact,
    "exact, private": lambda rows: exact(rows, private_rows=rows - 3),
    "a row": lambda rows: codes(rows, oov=rows - 1),
    "a shared row": lambda rows: codes(rows, stored=4, oov=rows - 1),
    "half precision": lambda rows: exact(rows, dtype="mixed_float16"),
}


def fields_of(make, **fields):
    layer = FieldEmbeddings(
        {n: make(rows) for n, rows in ROWS.items()}, fields or None
    )
    layer.build()
    return layer


def same_answers(layer, fused, inputs, turned=()):
    """`turned` tables multiply matrices, which graphs may round otherwise."""
    expected = layer(inputs)
    assert list(fused(inputs)) == list(expected)
    for jit_compile in (False, True):
        found = tf.function(fused, jit_compile=jit_compile)(inputs)
        for name, goal in expected.items():
            check = assert_allclose if name in turned else assert_identical
            check(found[name], goal)
    assert_identical(fused(inputs), expected)


@pytest.mark.parametrize("make", LAYOUTS.values(), ids=LAYOUTS)
def test_answers_and_bytes_are_the_same(make):
    layer = fields_of(make, c="c", x="a", y="b", z="a")
    fused = FusedFieldEmbeddings.from_fields(layer)
    assert len(fused.groups) == 1 and not fused.tables
    inputs = {n: RNG.permutation(IDS) for n in ("x", "y", "z", "c")}
    same_answers(layer, fused, inputs)
    # Of int32 and int64, and of one shape among others.
    inputs.update(x=IDS[:3, None].astype("int32"), z=IDS[:4])
    same_answers(layer, fused, inputs)
    (group,) = fused.groups.values()
    singles = sum(layer_bytes(table) for table in layer.tables.values())
    assert layer_bytes(group) == singles
    assert sum(v.nbytes for v in group.get_weights()) == singles


def test_policies_differ_within_a_group():
    tables = {
        "zero": codes(9),
        "row": codes(12, oov=11),
        "shared": codes(20, stored=5, oov=3),
        "shared zero": codes(20, stored=5),
    }
    layer = FieldEmbeddings(tables)
    layer.build()
    fused = FusedFieldEmbeddings.from_fields(layer)
    assert len(fused.groups) == 1
    same_answers(layer, fused, dict.fromkeys(tables, IDS))


def test_error_policy_has_its_own_group():
    tables = {
        "a": exact(5),
        "b": exact(6),
        "c": exact(7, oov="error"),
        "d": exact(8, oov="error"),
    }
    layer = FieldEmbeddings(tables)
    layer.build()
    fused = FusedFieldEmbeddings.from_fields(layer)
    assert [g.names for g in fused.groups.values()] == [("a", "b"), ("c", "d")]
    ids = dict.fromkeys(tables, np.array([0, 4]))
    assert_identical(fused(ids), layer(ids))
    ids["c"] = np.array([0, 7])
    for run in (fused, tf.function(fused)):
        with pytest.raises(tf.errors.InvalidArgumentError, match="must lie"):
            run(ids)


def test_other_tables_stay_single():
    tables = {
        "codes": codes(9),
        "more codes": codes(9),
        "other codes": codes(9, size=6),
        "exact": exact(9),
        "narrow": TableEmbedding(9, 4),
        "masked": exact(9, mask_zero=True),
        "trained": ProductQuantizedEmbedding(9, WIDTH, 3, 5),
        "turned": CodeLookupEmbedding.from_table(
            RNG.normal(size=(9, WIDTH)), 2, 4, quantizer="rotated"
        ),
        "keras": tf.keras.layers.Embedding(9, WIDTH),
    }
    layer = FieldEmbeddings(tables)
    inputs = dict.fromkeys(tables, np.array([0, 4, 8]))
    layer(inputs)
    fused = FusedFieldEmbeddings.from_fields(layer)
    assert [g.names for g in fused.groups.values()] == [("codes", "more codes")]
    assert set(fused.tables) == set(tables) - {"codes", "more codes"}
    same_answers(layer, fused, inputs, turned={"turned"})
    # The copy does not follow the original.
    before = fused(inputs)["exact"].numpy()
    raw_variable(tables["exact"].embeddings).assign(np.zeros((9, WIDTH)))
    np.testing.assert_array_equal(fused(inputs)["exact"], before)


def tiered(rows, stored=None, sizes=(3,), **config):
    """A table of tiers: two codes a row, then one; then exact rows."""
    stored = stored or rows
    makers = [
        lambda n: codes(n, size=2, subspaces=2),
        lambda n: codes(n, size=2, subspaces=1),
        exact,
    ]
    sizes = [*sizes, stored - sum(sizes)]
    tiers = [make(n) for make, n in zip(makers, sizes, strict=False)]
    private = None if stored == rows else stored
    layer = TieredEmbedding(rows, WIDTH, tiers, private_rows=private, **config)
    layer.build()
    return layer


TIERED = {
    "plain": codes(9, size=2, subspaces=1),
    "two": tiered(9),
    "three": tiered(12, sizes=(2, 4)),
    "shared": tiered(20, stored=8, oov=12),
    "row": tiered(11, oov=10),
    "another": tiered(7, stored=5),
}


def test_tiers_stand_as_tables():
    layer = FieldEmbeddings(TIERED, {**{n: n for n in TIERED}, "x": "two"})
    layer.build()
    fused = FusedFieldEmbeddings.from_fields(layer)
    assert sorted(len(g.names) for g in fused.groups.values()) == [5, 6]
    assert list(fused.tables) == ["three/2"]
    inputs = {n: RNG.permutation(IDS) for n in layer.fields}
    same_answers(layer, fused, inputs)
    inputs["two"] = inputs["two"].reshape(2, -1).astype("int32")
    same_answers(layer, fused, inputs)
    assert sum(map(layer_bytes, fused.groups.values())) + layer_bytes(
        fused.tables["three/2"]
    ) == sum(map(layer_bytes, TIERED.values()))
    whole = sum(t.input_dim for t in TIERED.values())
    holders = [*fused.groups.values(), *fused.tables.values()]
    assert sum(t.input_dim for t in holders) == whole
    copy = FusedFieldEmbeddings.from_config(fused.get_config())
    build_inner(copy)
    copy.set_weights(fused.get_weights())
    same_answers(layer, copy, inputs)


@pytest.mark.parametrize(
    "features",
    [list(TIERED), ["two"], ["row", "plain"], ["plain"], ["another", "three"]],
)
def test_stacked_vectors_of_tiers(features):
    layer = FieldEmbeddings(TIERED)
    layer.build()
    fused = FusedFieldEmbeddings.from_fields(layer)
    inputs = {n: RNG.permutation(IDS) for n in TIERED}

    @tf.function
    def stacked(inputs):
        return fused.stacked(inputs, features, "float32")

    (expected,), rest = layer.stacked(inputs, features, "float32")
    for (side,), others in (
        stacked(inputs),
        fused.stacked(inputs, features, "float32"),
    ):
        assert_identical(side, expected)
        assert set(others) == set(TIERED) - set(features)
        assert_identical(others, {name: rest[name] for name in others})


def test_ragged_ids_of_tiers():
    layer = FieldEmbeddings(TIERED)
    layer.build()
    fused = FusedFieldEmbeddings.from_fields(layer)
    ragged = tf.RaggedTensor.from_row_lengths(IDS, [3, 0, len(IDS) - 3])
    inputs = dict.fromkeys(TIERED, ragged)
    answers, expected = fused(inputs), layer(inputs)
    for name in TIERED:
        assert_identical(answers[name].values, expected[name].values)


def test_tiers_that_do_not_stand_apart():
    tables = {
        "masked": tiered(9, mask_zero=True),
        "checked": tiered(9, oov="error"),
        "only one": tiered(9),
    }
    layer = FieldEmbeddings(tables)
    layer.build()
    fused = FusedFieldEmbeddings.from_fields(layer)
    assert set(fused.tables) == set(tables) and fused.tiers is None


def test_sequences_and_ragged_ids():
    layer = fields_of(codes, c="c", a="a", b="b", long="c")
    fused = FusedFieldEmbeddings.from_fields(layer)
    plain = {n: tf.constant(IDS) for n in ROWS}
    inputs = {**plain, "long": tf.constant(np.stack([IDS, IDS[::-1]], 1))}
    spec = {n: tf.TensorSpec([None], tf.int64) for n in ROWS}
    spec["long"] = tf.TensorSpec([None, None], tf.int64)
    run = tf.function(fused, input_signature=[spec])
    assert_identical(run(inputs), layer(inputs))
    ragged = tf.RaggedTensor.from_row_lengths(IDS, [3, 0, 7])
    found = fused({**plain, "long": ragged})["long"]
    assert_identical(found.row_splits, ragged.row_splits)
    assert_identical(found.flat_values, layer({**plain, "long": IDS})["long"])


@pytest.mark.parametrize("features", [["b", "c", "a"], ["a", "turned"]])
def test_stacked_vectors(features):
    tables = {name: codes(rows) for name, rows in ROWS.items()}
    tables["turned"] = CodeLookupEmbedding.from_table(
        RNG.normal(size=(9, WIDTH)), 2, 4, quantizer="rotated"
    )
    layer = FieldEmbeddings(tables)
    layer.build()
    fused = FusedFieldEmbeddings.from_fields(layer)
    inputs = {n: RNG.permutation(IDS) for n in layer.fields}
    (side,), others = fused.stacked(inputs, features, "float16")
    (expected,), rest = layer.stacked(inputs, features, "float16")
    assert side.shape == (len(IDS), len(features), WIDTH)
    assert_identical(side, expected)
    assert set(others) == set(layer.fields) - set(features)
    assert_identical(others, {name: rest[name] for name in others})


@pytest.mark.parametrize("apart", [1, 2])
@pytest.mark.parametrize("make", LAYOUTS.values(), ids=LAYOUTS)
def test_last_columns_apart(make, apart):
    layer = fields_of(make)
    fused = FusedFieldEmbeddings.from_fields(layer)
    features = ["b", "c", "a"]
    inputs = {n: RNG.permutation(IDS) for n in ROWS}
    (joined,), _ = layer.stacked(inputs, features, "float32")
    expected = joined[..., :-apart], joined[..., -apart:]
    for each in layer, fused:
        parts, others = each.stacked(inputs, features, "float32", apart)
        assert_identical(parts, expected)
        assert not others


def test_last_columns_of_tiers_apart():
    layer = FieldEmbeddings(TIERED)
    layer.build()
    fused = FusedFieldEmbeddings.from_fields(layer)
    inputs = {n: RNG.permutation(IDS) for n in TIERED}
    (joined,), _ = layer.stacked(inputs, list(TIERED), "float32")
    parts, _ = fused.stacked(inputs, list(TIERED), "float32", 2)
    assert_identical(parts, (joined[..., :-2], joined[..., -2:]))


def operations(function):
    """The concrete function's nodes, those of its branches too."""
    graph = function.graph.as_graph_def()
    nodes = list(graph.node)
    for inner in graph.library.function:
        nodes += inner.node_def
    return nodes


@pytest.mark.parametrize("make", [codes, exact], ids=["codes", "exact"])
def test_two_gathers_and_no_read_of_a_table(make):
    fused = FusedFieldEmbeddings.from_fields(fields_of(make))
    spec = {n: tf.TensorSpec([None], tf.int32) for n in ROWS}
    nodes = operations(tf.function(fused).get_concrete_function(spec))
    kinds = [node.op for node in nodes]
    assert kinds.count("ResourceGather") == (2 if make is codes else 1)
    assert not {"ReadVariableOp", "GatherV2", "GatherNd"} & set(kinds)


@pytest.mark.parametrize("make", LAYOUTS.values(), ids=LAYOUTS)
def test_a_single_lookup_reads_no_table(make):
    layer = make(30)
    layer(IDS)
    spec = tf.TensorSpec([None], tf.int32)
    kinds = [
        n.op for n in operations(tf.function(layer).get_concrete_function(spec))
    ]
    assert kinds.count("ResourceGather") == len(layer.weights)
    assert "ReadVariableOp" not in kinds


def test_contract_of_the_groups():
    tables = [
        {"name": "user/id", "input_dim": 5, "private_rows": 4, "oov": 2},
        {"name": "a", "input_dim": 9, "private_rows": None, "oov": "zero"},
    ]
    ids = np.array([[1, 8], [4, 3], [0, 0]], "int32")
    run_layer_test(
        FusedTableEmbedding,
        {"tables": tables, "output_dim": 4, "additive_dim": 1},
        ids,
        expected_output_shape=(3, 2, 4),
        expected_num_trainable_weights=0,
        prepare=lambda layer: layer.set_weights(
            [RNG.normal(size=w.shape) for w in layer.get_weights()]
        ),
    )
    run_layer_test(
        FusedCodeLookupEmbedding,
        {
            "tables": tables,
            "output_dim": 5,
            "num_subspaces": 2,
            "codebook_size": 3,
            "additive_dim": 1,
            "codebook_dtype": "float16",
            "bit_packed": True,
        },
        ids,
        expected_output_shape=(3, 2, 5),
        expected_num_non_trainable_weights=2,
    )


def test_contract():
    layer = fields_of(codes, x="c", y="a", z="b")
    fused = FusedFieldEmbeddings.from_fields(layer)
    config = fused.get_config()
    copy = FusedFieldEmbeddings.from_config(config)
    assert not copy.built and copy.get_config() == config
    inputs = {n: IDS for n in "xyz"}
    copy(inputs)
    copy.set_weights(fused.get_weights())
    assert_identical(copy(inputs), fused(inputs))
    shapes = fused.compute_output_shape({n: (None, 3) for n in "xyz"})
    assert {tuple(s) for s in shapes.values()} == {(None, 3, WIDTH)}


def test_row_ranges_name_the_tables():
    layer = fields_of(codes)
    fused = FusedFieldEmbeddings.from_fields(layer)
    (group,) = fused.groups.values()
    assert group.row_ranges == {"c": (0, 30), "a": (30, 37), "b": (37, 49)}
    for name, table in layer.tables.items():
        np.testing.assert_array_equal(group.row_codes(name), table.row_codes())
    assert [part["row_range"] for part in group.describe()] == [
        [0, 30],
        [30, 37],
        [37, 49],
    ]


def test_a_model_counts_the_group_once():
    fused = FusedFieldEmbeddings.from_fields(fields_of(codes))
    model = tf.keras.Sequential([fused])
    assert list(model_bytes(model).values()) == [49 * 3 + 3 * 3 * 5 * 2 * 4]


@pytest.mark.parametrize(
    "tables",
    [
        [],
        [{"name": "a", "input_dim": 3}, {"name": "a", "input_dim": 3}],
        [
            {"name": "a", "input_dim": 3},
            {"name": "b", "input_dim": 3, "oov": "error"},
        ],
    ],
    ids=["none", "twice", "policies"],
)
def test_group_arguments_are_checked(tables):
    with pytest.raises(ValueError, match="`tables` must hold at least one"):
        FusedTableEmbedding(tables, 4)


@pytest.mark.parametrize("fields", [{}, {"x": "a"}, {"x": "a", "y": "z"}])
def test_fields_must_fit_the_tables(fields):
    layer = fields_of(codes)
    groups = FusedFieldEmbeddings.from_fields(layer).groups
    with pytest.raises(ValueError, match="`fields` must name a feature"):
        FusedFieldEmbeddings(fields, groups)
    with pytest.raises(ValueError, match=r"Missing: \['b'\]"):
        FusedFieldEmbeddings.from_fields(layer).call({"c": IDS, "a": IDS})
