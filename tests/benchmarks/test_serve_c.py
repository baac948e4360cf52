import json
import os
import subprocess

import numpy as np
import pytest
import tensorflow as tf

from benchmarks.serve_c import Server, write_requests


class Sums(tf.Module):
    """Adds a number, twice an integer and the length of a string."""

    def __init__(self):
        super().__init__()
        self.scale = tf.Variable(2.0)

    @tf.function(
        input_signature=[
            tf.TensorSpec([None], tf.float32, name="number"),
            tf.TensorSpec([None], tf.int64, name="count"),
            tf.TensorSpec([None], tf.string, name="text"),
        ]
    )
    def __call__(self, number, count, text):
        doubled = self.scale * tf.cast(count, tf.float32)
        length = tf.cast(tf.strings.length(text), tf.float32)
        return {"sum": number + doubled + length}


BATCH = {
    "number": np.array([0.1, -0.2, 0.3], np.float32),
    "count": np.array([5, -7, 2**33]),
    "text": ["", "a b", "äö"],
}
SUMS = (
    BATCH["number"] + 2 * BATCH["count"].astype(np.float32) + [0, 3, 4]
).astype(np.float32)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    module = Sums()
    tf.saved_model.save(module, folder, module.__call__)
    return folder


@pytest.fixture(scope="module")
def requests(tmp_path_factory, model):
    return write_requests(tmp_path_factory.mktemp("requests"), model, BATCH)


def run(*arguments, **options):
    return subprocess.run(
        [str(argument) for argument in arguments],
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        **options,
    )


def test_prints_answers_and_compares_them_to_the_bit(
    program, model, requests, tmp_path
):
    expected = tmp_path / "expected.bin"
    SUMS.tofile(expected)
    done = run(program, model, requests, "--print", "--expect", expected)
    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(
        np.array(done.stdout.split(), np.float32), SUMS
    )
    np.nextafter(SUMS, np.float32(np.inf)).tofile(expected)
    done = run(program, model, requests, "--expect", expected)
    assert done.returncode == 1 and "the answer differs" in done.stderr


def test_measures_each_size(program, model, requests):
    options = ["--batch", "1,3", "--threads", "2", "--seconds", "0.05"]
    done = run(program, model, requests, *options, "--session_threads", "2")
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(row["batch"], row["threads"]) for row in rows] == [(1, 2), (3, 2)]
    for row in rows:
        assert 0 < row["p50_us"] <= row["p99_us"]
        assert row["requests"] > 0 and row["per_second"] > 0
        assert row["resident_bytes"] > 2**20


def test_servers_are_asked_in_turn(program, model, requests):
    options = {"seconds": 0.02, "session_threads": 1}
    with (
        Server(program, model, requests, **options) as one,
        Server(program, model, requests, **options) as two,
    ):
        sizes = [server.measure(2)["batch"] for server in (one, two, one)]
        assert sizes == [2, 2, 2]
        with pytest.raises(RuntimeError, match="ended with status 1"):
            one.measure(4)  # only three rows are known
    assert two.process.returncode == 0


@pytest.mark.parametrize(
    "text, message",
    [
        ("rows 3\n", "`output` and `rows` must be given"),
        ("output nothing:0\n", "no such operation"),
        ("nonsense\n", "not a file of requests"),
        ("rows 1\ninput serving_default_text:0 string x", "cannot be opened"),
    ],
)
def test_wrong_requests(program, model, tmp_path, text, message):
    path = tmp_path / "requests.txt"
    path.write_text(text)
    done = run(program, model, path, "--print")
    assert done.returncode == 1 and message in done.stderr


def test_wrong_batches(model, tmp_path):
    with pytest.raises(ValueError, match="must hold the inputs"):
        write_requests(tmp_path, model, {"number": BATCH["number"]})
