"""Neither import, compression nor export uses the network."""

import os
import pathlib
import socket
import subprocess
import sys

import pytest

from tests import offline

ROOT = pathlib.Path(__file__).parents[1]
ELSEWHERE = "192.0.2.1"  # set aside for documentation by RFC 5737

COMPRESS = """
import sys

from tests.offline import attempts, forbid_network

forbid_network()
import numpy as np
import tensorflow as tf

import mec_tf

ids = np.arange(256) % 100
model = tf.keras.Sequential([
    tf.keras.Input((1,), dtype="int32"),
    tf.keras.layers.Embedding(100, 8),
    tf.keras.layers.Flatten(),
    tf.keras.layers.Dense(1),
])
model.compile("adam", "mse")
data = tf.data.Dataset.from_tensor_slices((ids[:, None], ids % 2)).batch(64)
policy = mec_tf.CompressionPolicy(ratio=2)
result = mec_tf.compress(model, data, policy=policy, epochs=1, verbose=0)
report = mec_tf.export.save(result.model, sys.argv[1])
tf.saved_model.load(report.path)
assert not attempts, attempts
print("bytes", report.bytes_on_disk)
"""


def test_import_compress_and_export_stay_on_this_machine(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", COMPRESS, str(tmp_path / "1")],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[-1]) > 0


@pytest.mark.parametrize("method", ["connect", "connect_ex"])
def test_the_guard_of_the_suite(method, monkeypatch):
    monkeypatch.setattr(offline, "attempts", [])
    with socket.socket() as client:
        with pytest.raises(RuntimeError, match="must not use the network"):
            getattr(client, method)((ELSEWHERE, 9))
    assert offline.attempts == [(ELSEWHERE, 9)]


def test_the_guard_lets_local_connections_through():
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()
        with socket.create_connection(address, timeout=10) as client:
            assert client.getpeername() == address
