"""What any id gives, in every table and every way of running it.

    python -m benchmarks.reliability.ids \
        --output benchmarks/results/reliability_ids.json

Hypothesis draws ids: shapes, dtypes, contents (rows, their borders, the limits
of dtypes, 2**32 plus a row, fractions, NaN), tables of every kind, and
out-of-range policies. The answer must be what the documented rule, written in
`id_rule` in plain Python on exact numbers, makes of the rows of the table.

A row of the result is a way of running: "cases" are calls with other ids, of
one table each, or, in "export", "export, xla" and "c", of all tables at once
through one request; "distinct" leaves repeated ones out. It ends with an
error, which shows the smallest case found, where an answer differs.
"""

import collections
import math
import pathlib
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import hypothesis
import numpy as np
import tensorflow as tf
from absl import app, flags
from hypothesis import strategies as st

from benchmarks.environment import write_rows
from benchmarks.reliability.id_rule import compare, expected, fails
from benchmarks.reliability.id_tables import DIM, ROWS, Subject, tables
from benchmarks.reliability.id_ways import (
    SAVED,
    Answer,
    Exports,
    graphs,
    keras_models,
    saved_models,
)

FLAGS = flags.FLAGS
POLICIES: tuple[str | int, ...] = ("zero", 5, "error")
INTEGERS = (
    "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
)  # fmt: skip
FLOATS = ("float16", "bfloat16", "float32", "float64")
DTYPES = (*INTEGERS, *FLOATS, "bool")
SHAPES = (
    (), (1,), (4,), (0,), (3, 1), (2, 3), (0, 3), (3, 0), (1, 1), (2, 3, 2),
)  # fmt: skip
# Compiled one by one.
XLA = (
    ((), "int32"), ((5,), "int64"), ((0, 3), "int64"), ((2, 3), "float32"),
    ((3, 1), "uint64"),
)  # fmt: skip
# Inputs of exported models, by policy.
EXPORTED = (
    ("zero", "int32"),
    ("zero", "int64"),
    (5, "int64"),
    ("error", "int64"),
)
CASES = {
    "eager": 900, "graph": 700, "xla": 500, "saved_model": 500, "keras": 300,
    "export": 200, "export, xla": 40, "c": 60, "refused": 40,
}  # fmt: skip

Case = tuple[Subject, np.ndarray]


def define_flags() -> None:
    flags.DEFINE_float("share", 1.0, "Of the cases of a full run.")
    flags.DEFINE_integer("seed", 0, "Of what Hypothesis draws.")
    flags.DEFINE_string("output", None, "Result file, JSON.", required=True)


# What is drawn.


def contents(dtype: str, limit: int = ROWS) -> st.SearchStrategy[Any]:
    """One id."""
    if dtype == "bool":
        return st.booleans()
    known = tf.as_dtype(dtype)
    row = st.integers(0, limit - 1)
    edges = [-1, limit, limit + 1, 2**31 - 1, 2**31, -(2**31), 2**32 - 1]
    edges += [2**62, 2**63 - 1, 2**63, -(2**63), 2**64 - 1]
    wrapped = st.builds(
        lambda row, bits, sign: sign * 2**bits + row,
        row, st.sampled_from([8, 16, 31, 32, 33, 63]), st.sampled_from([-1, 1]),
    )  # fmt: skip
    anything = st.integers(-(2**63), 2**64 - 1)
    drawn = st.one_of(row, st.sampled_from(edges), wrapped, anything)
    if known.is_integer:
        low, high = int(known.min), int(known.max)
        near = st.sampled_from([low, high, low + 1, high - 1])
        return st.one_of(
            row.filter(lambda n: n <= high),
            near,
            drawn.map(lambda n: n if low <= n <= high else n % (high + 1)),
        )
    special = [math.nan, math.inf, -math.inf, -0.5, -0.0, 1e30, 1e300]
    fraction = st.floats(-3, limit + 3)
    return st.one_of(
        drawn.map(float), st.sampled_from(special), fraction, st.floats()
    )


def arrays(dtype: str, shape: tuple[int, ...], limit: int = ROWS):
    size = math.prod(shape)

    def made(values: list[Any]) -> np.ndarray:
        numbers = tf.as_dtype(dtype).as_numpy_dtype
        with np.errstate(over="ignore"):
            return np.array(values).astype(numbers).reshape(shape)

    wide = dtype == "uint64"
    ids = st.lists(contents(dtype, limit), min_size=size, max_size=size)
    if wide:  # NumPy would make floats of numbers of both signs
        return ids.map(lambda v: np.array(v, np.uint64).reshape(shape))
    return ids.map(made)


def cases(
    policies: tuple[str | int, ...] = POLICIES,
    layouts: tuple[tuple[tuple[int, ...], str], ...] | None = None,
) -> st.SearchStrategy[Case]:
    """A table and ids for it."""

    @st.composite
    def draw(take: Callable[..., Any]) -> Case:
        subject = take(st.sampled_from(tables(take(st.sampled_from(policies)))))
        if layouts is None:
            shape = take(st.sampled_from(SHAPES))
            dtype = take(st.sampled_from(DTYPES))
        else:
            shape, dtype = take(st.sampled_from(layouts))
        if subject.pooled:
            shape = (2, 3) if layouts is None else layouts[-1][0]
        limit = min(subject.input_dim, ROWS)
        return subject, take(arrays(dtype, shape, limit))

    return draw()


# The run.


def check_export(
    run: Callable[..., np.ndarray], oov: str | int, ids: np.ndarray, exact: bool
) -> None:
    """Compares an answer of all tables, or expects the one error."""
    known = tables(oov)
    rolled = [np.roll(ids, place) for place in range(len(known))]
    bad = [
        expected(subject, each[:, None] if subject.pooled else each) is None
        for subject, each in zip(known, rolled, strict=True)
    ]
    if any(bad):
        fails(lambda: run(oov, ids))
        return
    answer = run(oov, ids)
    end = 0
    for subject, each in zip(known, rolled, strict=True):
        start, end = end, end + DIM
        if subject.pooled:
            each = each[:, None]
        compare(subject, each, answer[:, start:end], exact)


def explore(
    strategy: st.SearchStrategy[Any],
    check: Callable[[Any], None],
    count: int,
    seed: int,
) -> dict[str, int]:
    """Runs a check on many drawn cases; how many, and how many differ."""
    seen: collections.Counter[Any] = collections.Counter()
    ids_seen = 0

    def counted(case: Any) -> None:
        nonlocal ids_seen
        first, ids = case
        name = getattr(first, "name", ""), getattr(first, "oov", first)
        seen[(name, ids.dtype.name, ids.shape, ids.tobytes())] += 1
        ids_seen += ids.size
        check(case)

    run = hypothesis.given(strategy)(counted)
    run = hypothesis.seed(seed)(run)
    hypothesis.settings(
        max_examples=count,
        deadline=None,
        database=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )(run)()
    return {
        "cases": sum(seen.values()),
        "distinct": len(seen),
        "ids": ids_seen,
        "dtypes": len({dtype for _, dtype, _, _ in seen}),
    }


def check_one(answer: Answer, exact: bool = True) -> Callable[[Case], None]:
    def check(case: Case) -> None:
        subject, ids = case
        if expected(subject, ids) is None:
            fails(lambda: answer(subject, ids))
        else:
            compare(subject, ids, answer(subject, ids), exact)

    return check


def check_refused(case: Case) -> None:
    """Other dtypes are refused by name, XLA refuses "error"."""
    subject, ids = case
    for other in ("string", "complex64"):
        values = tf.zeros(ids.shape, other)
        for run in (subject.call, tf.function(subject.call)):
            try:
                run(values)
            except TypeError as error:
                assert f"dtype={other}" in str(error), error
            else:
                raise AssertionError(f"{other} was taken")
    if subject.oov == "error":
        try:
            tf.function(subject.call, jit_compile=True)(tf.constant(ids))
        except NotImplementedError as error:
            assert "cannot be compiled by XLA" in str(error), error
        else:
            raise AssertionError("XLA took a check that it drops")


def ways(folder: pathlib.Path) -> dict[str, tuple[Any, Callable[[Any], None]]]:
    """What is drawn for each way of running, and its check."""
    zero_or_row = POLICIES[:2]
    shapes = {1: ((0,), (4,)), 2: ((3, 1), (0, 3), (2, 3))}
    saved = tuple(
        (shape, dtype) for rank, dtype in SAVED for shape in shapes[rank]
    )
    long = tuple((shape, "int64") for shape in ((0, 3), (3, 0), (2, 3), (4, 1)))
    exports = Exports(folder / "exports")
    for name in ("exports", "saved", "keras"):
        (folder / name).mkdir()

    def requests(models: Any, sizes: tuple[int, ...]) -> Any:
        drawn = st.tuples(st.sampled_from(models), st.sampled_from(sizes))
        return drawn.flatmap(
            lambda model_size: st.tuples(
                st.just(model_size[0][0]),
                arrays(model_size[0][1], (model_size[1],)),
            )
        )

    def export(run: Callable[..., np.ndarray], exact: bool) -> Any:
        return lambda case: check_export(run, *case, exact)

    return {
        "eager": (cases(), check_one(lambda s, ids: s.call(tf.constant(ids)))),
        "graph": (cases(), check_one(graphs(False))),
        "xla": (cases(zero_or_row, XLA), check_one(graphs(True), False)),
        "saved_model": (
            cases(POLICIES, saved), check_one(saved_models(folder / "saved")),
        ),
        "keras": (
            cases(POLICIES, long), check_one(keras_models(folder / "keras")),
        ),
        "export": (
            requests(EXPORTED, (1, 3, 8)),
            export(lambda oov, ids: exports.answer(oov, ids, False), True),
        ),
        "export, xla": (
            requests(EXPORTED[1:3], (4,)),
            export(lambda oov, ids: exports.answer(oov, ids, True), False),
        ),
        "c": (
            requests(EXPORTED, (1, 5, 16)),
            export(exports.answer_in_c, True),
        ),
        "refused": (cases(), check_refused),
    }  # fmt: skip


def run(
    share: float = 1.0, seed: int = 0, names: tuple[str, ...] = tuple(CASES)
) -> Iterator[dict[str, Any]]:
    """A row for each way of running."""
    for policy in POLICIES:
        tables(policy)  # made here: they draw random numbers of their own
    with tempfile.TemporaryDirectory() as name:
        known = ways(pathlib.Path(name))
        for way in names:
            count = max(2, round(CASES[way] * share))
            found = explore(*known[way], count, seed)
            yield {"way": way, **found, "tables": len(tables("zero"))}


def main(_: list[str]) -> None:
    rows = []
    for row in run(FLAGS.share, FLAGS.seed):
        print(row, flush=True)
        rows.append(row)
        write_rows(FLAGS.output, rows)
    print("cases", sum(row["cases"] for row in rows))
    print("distinct", sum(row["distinct"] for row in rows))


if __name__ == "__main__":
    define_flags()
    app.run(main)
