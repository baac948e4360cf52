"""Any vocabulary survives its text file."""

import hypothesis
import hypothesis.strategies as st
import numpy as np
import tensorflow as tf

from mec_tf.data import Vocabulary
from mec_tf.export.vocabulary_table import (
    VocabularyTable,
    escape,
    escape_op,
)

TRICKY = st.text(st.sampled_from("\\nr0\n\r\t aé\0"), max_size=6)


@hypothesis.given(st.lists(TRICKY, min_size=1, max_size=20))
def test_escapes_are_single_lines_that_differ(values):
    lines = [escape(value) for value in values]
    assert all(line and not set(line) & set("\r\n") for line in lines)
    assert len(set(lines)) == len(set(values))
    found = escape_op(tf.constant(values)).numpy()
    assert [line.decode() for line in found] == lines


@hypothesis.settings(max_examples=25)
@hypothesis.given(
    st.lists(TRICKY, min_size=1, max_size=12, unique=True),
    st.lists(TRICKY, max_size=5),
)
def test_rows_are_those_of_the_vocabulary(tmp_path_factory, values, others):
    vocabulary = Vocabulary(values, [0] * (len(values) + 1))
    folder = tmp_path_factory.mktemp("vocabulary")
    table = VocabularyTable("a/b", vocabulary, folder)
    rows = table.rows(tf.constant(values + others)).numpy()
    np.testing.assert_array_equal(rows, vocabulary.encode(values + others))
    assert table.num_bytes == sum(f.stat().st_size for f in folder.iterdir())


def test_plain_values_are_stored_as_they_are(tmp_path):
    words = Vocabulary(["a\\b", " c\t"], [0, 1, 1])
    table = VocabularyTable("word", words, tmp_path)
    assert not table.escaped
    assert table.file.read_bytes() == b"a\\b\n c\t\n"


def test_integers_of_any_size(tmp_path):
    values = np.array([0, -1, 2**63 - 1, -(2**63), 10])
    vocabulary = Vocabulary(values, [0] * 6)
    table = VocabularyTable("n", vocabulary, tmp_path)
    asked = tf.constant([[10, 3], [2**63 - 1, -(2**63)]], tf.int64)
    assert table.rows(asked).numpy().tolist() == [[5, 0], [3, 4]]
