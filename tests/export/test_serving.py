"""Exports run where `mec_tf` is not: a bare Python, and TensorFlow's C API."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

import mec_tf
from benchmarks.serve_c import build, write_requests

# Refuses the package, though it is installed.
BARE_PYTHON = """
import importlib.abc, json, sys

class Blocker(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "mec_tf":
            raise ImportError(name + " is blocked")

sys.meta_path.insert(0, Blocker())
try:
    import mec_tf
except ImportError:
    pass
else:
    sys.exit("mec_tf can be imported")
import tensorflow as tf

path, request = sys.argv[1], json.loads(sys.argv[2])
signature = tf.saved_model.load(path).signatures["serving_default"]
dtypes = {k: spec.dtype for k, spec in
          signature.structured_input_signature[1].items()}
inputs = {k: tf.constant(v, dtypes[k]) for k, v in request.items()}
print(json.dumps(signature(**inputs)["probability"].numpy().tolist()))
"""


@pytest.fixture
def exported(tmp_path, model, vocabularies):
    return mec_tf.export.save(
        model,
        tmp_path / "1",
        vocabularies=vocabularies,
        activation="sigmoid",
    )


def as_lists(batch):
    texts = (bytes, np.bytes_)
    return {
        name: [
            v.decode() if isinstance(v, texts) else v.item()
            for v in values.numpy()
        ]
        for name, values in batch.items()
    }


def test_fresh_python_without_the_package(exported, tmp_path, model, raw_batch):
    raw, ids = raw_batch
    child = subprocess.run(
        [
            sys.executable,
            "-I",
            "-c",
            BARE_PYTHON,
            exported.path,
            json.dumps(as_lists(raw)),
        ],
        cwd=tmp_path,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
    )
    assert child.returncode == 0, child.stderr
    found = np.array(json.loads(child.stdout.splitlines()[-1]))
    np.testing.assert_allclose(found, tf.sigmoid(model(ids)), atol=1e-6)


@pytest.fixture(scope="module")
def serve(tmp_path_factory):
    """The compiled C program; gcc is a requirement of the test suite."""
    return build(tmp_path_factory.mktemp("c"))


def run_c(program, folder, path, signature, batch):
    """The program's answers, all rows at once."""
    values = {name: tensor.numpy() for name, tensor in batch.items()}
    requests = write_requests(folder, path, values, signature)
    child = subprocess.run(
        [str(program), str(path), str(requests), "--print"],
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
    )
    assert child.returncode == 0, child.stderr
    return np.array(child.stdout.split(), np.float32)


def test_c_program(exported, serve, model, raw_batch, tmp_path):
    raw, ids = raw_batch
    expected = tf.sigmoid(model(ids)).numpy().ravel()
    found = run_c(
        serve, tmp_path / "requests", exported.path, "serving_default", raw
    )
    np.testing.assert_allclose(found, expected, atol=1e-6)
    by_name = {exported.inputs[name]: values for name, values in ids.items()}
    found = run_c(serve, tmp_path / "requests", exported.path, "ids", by_name)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    last = {name: values[-1:] for name, values in by_name.items()}
    found = run_c(serve, tmp_path / "requests", exported.path, "ids", last)
    np.testing.assert_allclose(found, expected[-1:], atol=1e-6)


def test_c_program_runs_variants(serve, tmp_path, model, raw_batch):
    _, ids = raw_batch
    report = mec_tf.export.save(
        model,
        tmp_path / "1",
        activation="sigmoid",
        jit_compile=True,
        float_storage="float16",
        warmup=(),
    )
    expected = tf.sigmoid(model(ids)).numpy().ravel()
    by_name = {report.inputs[name]: values for name, values in ids.items()}
    found = run_c(serve, tmp_path / "requests", report.path, "ids", by_name)
    np.testing.assert_allclose(found, expected, atol=5e-3)
