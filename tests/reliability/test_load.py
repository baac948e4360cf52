"""The load run, small: threads, answers compared to the bit, memory read."""

import json
import subprocess

import numpy as np
import pytest

from benchmarks.reliability import load
from benchmarks.serve_c import build, write_answers, write_requests


@pytest.fixture(scope="module")
def export(tmp_path_factory):
    folder = tmp_path_factory.mktemp("export")
    setup = load.small_model(table_bytes=26 * 17 * 4 * 50)
    small = load.Load(threads=16, seconds=1.0, requests=300, rows=192)
    return load.Export(folder, setup, small, fold=True)


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    return build(tmp_path_factory.mktemp("program"))


def test_requests_hold_ids_out_of_range(export):
    ids = np.stack(list(export.inputs.values()))
    outside = (ids < 0) | (ids >= 50)
    assert 0.02 < outside.mean() < 0.08
    assert {len(values) for values in export.answers.values()} == {192}
    assert set(export.answers) == set(load.SHARES)
    assert max(export.keras.values()) < 1e-6


@pytest.mark.parametrize("client", ["c", "python"])
def test_each_client_is_answered_as_one_thread_was(export, program, client):
    samples = export.run_c(program) if client == "c" else export.run_python()
    last = samples[-1]  # too few to tell growth by
    assert last["wrong"] == 0
    assert last["requests"] >= (300 if client == "c" else 1)
    assert last["resident_bytes"] > 2**20


def test_wrong_answers_are_counted(export, program, tmp_path):
    requests = write_requests(tmp_path, export.path, export.inputs, "ids")
    answers = {
        size: np.nextafter(values, np.float32(np.inf))
        for size, values in export.answers.items()
    }
    sizes = write_answers(tmp_path, answers, load.SHARES)
    command = [program, export.path, requests, "--load", sizes]
    options = ["--threads", "2", "--seconds", "0", "--requests", "20"]
    done = subprocess.run(
        [*map(str, command), *options], capture_output=True, text=True
    )
    assert done.returncode == 1 and "answers differ" in done.stderr
    last = json.loads(done.stdout.splitlines()[-1])
    assert last["wrong"] == last["requests"] >= 20


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "not a file of sizes"),
        ("1 one a.bin\n", "not a file of sizes"),
        ("1000000 1 a.bin\n", "sizes must be 1 to `rows`"),
        ("1 0 a.bin\n", "shares 1 or more"),
        ("1 1 nothing.bin\n", "cannot be opened"),
        ("1 1 short.bin\n", "not the answers of that size"),
    ],
)
def test_wrong_files(export, program, tmp_path, text, message):
    requests = write_requests(tmp_path, export.path, export.inputs, "ids")
    (tmp_path / "load.txt").write_text(text)
    (tmp_path / "short.bin").write_bytes(b"1234")
    done = subprocess.run(
        [program, export.path, requests, "--load", tmp_path / "load.txt"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1 and message in done.stderr


def test_summary_leaves_the_warm_up_out():
    sizes = [100, *[200] * 9, 202]
    samples = [
        {"seconds": second, "requests": 0, "wrong": 0, "resident_bytes": size}
        for second, size in enumerate(sizes)
    ]
    samples[-1].update(requests=50, wrong=2)
    assert load.summary(samples) == {
        "requests": 50,
        "wrong": 2,
        "seconds": 10,
        "per_second": 5.0,
        "resident_bytes": 201,
        "growth": 0.005,  # the median of 200 and 202
        "peak_growth": 0.01,
    }
