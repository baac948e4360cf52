"""Exports run where `mec_tf` is not: a bare Python, and TensorFlow's C API."""

import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

import mec_tf

SOURCE = pathlib.Path(__file__).parent / "c" / "predict.c"

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
def predict(tmp_path_factory):
    """The compiled C program; gcc is a requirement of the test suite."""
    program = tmp_path_factory.mktemp("c") / "predict"
    libraries = tf.sysconfig.get_lib()
    compiler = subprocess.run(
        [
            "gcc",
            "-Wall",
            "-Wextra",
            "-Werror",
            f"-I{tf.sysconfig.get_include()}",
            str(SOURCE),
            "-o",
            str(program),
            f"-L{libraries}",
            "-l:libtensorflow_cc.so.2",
            "-l:libtensorflow_framework.so.2",
            f"-Wl,-rpath,{libraries}",
        ],
        capture_output=True,
        text=True,
    )
    assert compiler.returncode == 0, compiler.stderr
    return program


def run_c(program, path, signature, batch):
    """The program's answers; every tensor is looked up by its signature."""
    # The meta graph says which graph tensor an input's name stands for.
    saved = saved_model_pb2.SavedModel()
    saved.ParseFromString((pathlib.Path(path) / "saved_model.pb").read_bytes())
    definition = saved.meta_graphs[0].signature_def[signature]
    (output,) = definition.outputs.values()
    lists = as_lists(batch)
    arguments = []
    for name, values in lists.items():
        tensor = definition.inputs[name]
        dtype = tf.as_dtype(tensor.dtype)
        kind = "float" if dtype == tf.float32 else dtype.name
        arguments += [tensor.name, kind, *map(str, values)]
    rows = len(next(iter(lists.values())))
    child = subprocess.run(
        [str(program), str(path), str(rows), output.name, *arguments],
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
    )
    assert child.returncode == 0, child.stderr
    return np.array(child.stdout.split(), np.float32)


def test_c_program(exported, predict, model, raw_batch):
    raw, ids = raw_batch
    expected = tf.sigmoid(model(ids)).numpy().ravel()
    found = run_c(predict, exported.path, "serving_default", raw)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    by_name = {exported.inputs[name]: values for name, values in ids.items()}
    found = run_c(predict, exported.path, "ids", by_name)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    last = {name: values[-1:] for name, values in by_name.items()}
    found = run_c(predict, exported.path, "ids", last)
    np.testing.assert_allclose(found, expected[-1:], atol=1e-6)
