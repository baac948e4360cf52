"""Two worker processes on loopback learn what one process learns."""

import contextlib
import json
import os
import pathlib
import socket
import subprocess
import sys

import numpy as np
import pytest

from mec_tf.layers.variables import KERAS_3
from mec_tf.optimizers import LazyAdam
from tests.distributed.cases import (
    compressed,
    product,
    trained,
    trained_by_loop,
)
from tests.harness import raw_variable

ROOT = pathlib.Path(__file__).parents[2]


def results(strategy=None):
    """Arrays by name: what is trained and compressed under a strategy."""
    if strategy is None:
        model, logs = trained([product], LazyAdam)
    elif KERAS_3:  # whose `fit` knows no worker processes
        with strategy.scope():
            model, logs = trained_by_loop([product], LazyAdam, strategy)
    else:
        with strategy.scope():
            model, logs = trained([product], LazyAdam)
    found = {
        f"trained {place}": raw_variable(weight).numpy()
        for place, weight in enumerate(model.weights)
    }
    found["loss"] = np.array(logs["loss"])
    if KERAS_3:
        if strategy is not None:
            with pytest.raises(ValueError, match="TF_USE_LEGACY_KERAS"):
                compressed(strategy)
        return found
    for start in ("warm", "cold"):
        result = compressed(strategy, start)
        for place, weight in enumerate(result.model.get_weights()):
            found[f"{start} {place}"] = weight
        found[f"{start} score"] = np.array(result.report.score[1:])
    if strategy is not None:
        with pytest.raises(ValueError, match="`folder` needs a strategy of"):
            compressed(strategy, folder="state")
    return found


def free_ports(number):
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def test_as_one_process(tmp_path):
    workers = [f"127.0.0.1:{port}" for port in free_ports(2)]
    running = []
    for index in range(2):
        task = {"type": "worker", "index": index}
        config = {"cluster": {"worker": workers}, "task": task}
        running.append(
            subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "tests.distributed.worker",
                    str(tmp_path / f"{index}.npz"),
                ],
                cwd=ROOT,
                env={**os.environ, "TF_CONFIG": json.dumps(config)},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        )
    try:
        expected = results()
        outputs = [each.communicate(timeout=240)[0] for each in running]
    finally:
        for each in running:
            each.kill()
    for each, output in zip(running, outputs, strict=True):
        assert each.returncode == 0, output
    first, second = (np.load(tmp_path / f"{index}.npz") for index in range(2))
    assert set(first.files) == set(expected)
    for name, goal in expected.items():
        np.testing.assert_array_equal(first[name], second[name], name)
        np.testing.assert_allclose(
            first[name], goal, atol=1e-5, rtol=1e-4, err_msg=name
        )
