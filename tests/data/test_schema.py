import dataclasses
import json

import pytest

from mec_tf.data import Schema, infer_schema


def test_round_trip():
    schema = Schema(
        "y",
        ("a", "b"),
        ("x",),
        timestamp="t",
        strings=("b",),
        sequences={"s": "b"},
    )
    twin = Schema.from_dict(json.loads(json.dumps(schema.to_dict())))
    assert twin == schema and hash(twin) == hash(schema)


def test_sequences_are_features_and_go_with_their_columns():
    schema = Schema("y", ("a", "b"), ("x",), sequences={"s": "b", "r": "a"})
    assert schema.features == ("a", "b", "x", "s", "r")
    assert schema.drop(("b",)).sequences == {"r": "a"}
    assert schema.drop(("r",)).sequences == {"s": "b"}
    assert "s  sequence of b" in str(schema)


def test_prints_each_column():
    schema = Schema("y", ("a", "bb"), ("x",), timestamp="t", strings=("bb",))
    assert str(schema).splitlines() == [
        "y   label, 0 or 1",
        "a   categorical, whole numbers",
        "bb  categorical, text",
        "x   numeric",
        "t   timestamp, not a feature",
    ]


def test_is_frozen_and_takes_lists():
    schema = Schema("y", ["a"])
    assert schema.categorical == ("a",)
    with pytest.raises(dataclasses.FrozenInstanceError):
        schema.label = "z"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"categorical": ("y",)}, r"\['y'\]"),
        ({"categorical": ("a",), "numeric": ("a",)}, r"\['a'\]"),
        ({"categorical": ("a",), "timestamp": "a"}, r"\['a'\]"),
        ({}, "none"),
        ({"categorical": "abc"}, "'abc'"),
        ({"categorical": ("a",), "strings": ("b",)}, r"\['b'\]"),
        ({"categorical": ("",)}, "''"),
        ({"categorical": ("a",), "sequences": {"a": "a"}}, r"\['a'\]"),
        ({"categorical": ("a",), "sequences": {"s": "b"}}, r"\['b'\]"),
    ],
)
def test_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        Schema("y", **arguments)


def test_infers_kinds(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text(
        "click,user,country,price,age,when,flag,zip\n"
        "0,12,NO,1.5,30,2024-01-01 10:00:00,true,01\n"
        "1,,SE,,31,2024-01-02 10:00:00,false,02\n"
    )
    schema = infer_schema(
        path, "click", numeric=["age"], strings=["zip"], drop=["flag"]
    )
    assert schema == Schema(
        "click",
        ("user", "country", "zip"),
        ("price", "age"),
        timestamp="when",
        strings=("country", "zip"),
    )
    assert "flag" in infer_schema(path, "click").strings


@pytest.mark.parametrize("argument", ["numeric", "strings", "drop"])
def test_infer_refuses_unknown_columns(tmp_path, argument):
    path = tmp_path / "log.csv"
    path.write_text("click,user\n0,1\n")
    with pytest.raises(ValueError, match=f"`{argument}`.*'user'.*'nope'"):
        infer_schema(path, "click", **{argument: ["nope"]})
