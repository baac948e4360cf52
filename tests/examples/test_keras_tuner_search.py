"""The tuner's example, driven by a stand-in for KerasTuner."""

import importlib.util
import pathlib

import numpy as np
import pytest

from mec_tf.compression import full_bytes, model_bytes

ROOT = pathlib.Path(__file__).parents[2]


def load_example():
    path = ROOT / "examples" / "keras_tuner_search.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class HyperParameters:
    """KerasTuner's, as far as `build` uses it: always these values."""

    def __init__(self, values):
        self.values, self.asked = values, set()

    def Choice(self, name, values):
        assert self.values[name] in values
        return self._value(name)

    def Float(self, name, min_value, max_value, sampling):
        assert min_value <= self.values[name] <= max_value
        assert sampling in ("linear", "log")
        return self._value(name)

    def _value(self, name):
        self.asked.add(name)
        return self.values[name]


@pytest.mark.parametrize("num_subspaces", [1, 4])
def test_a_proposed_model_trains_and_freezes(num_subspaces):
    example = load_example()
    hp = HyperParameters(
        {
            "num_subspaces": num_subspaces,
            "codebook_size": 16,
            "commitment_weight": 0.1,
            "learning_rate": 0.05,
        }
    )
    model = example.build(hp)
    assert hp.asked == set(hp.values)
    model.run_eagerly = True  # sooner than a graph is traced
    features, labels = example.clicks(4000)
    history = model.fit(
        features, labels, batch_size=400, epochs=3, verbose=0
    ).history
    assert history["loss"][-1] < history["loss"][0]
    frozen = example.freeze(model)
    assert full_bytes(frozen) / sum(model_bytes(frozen).values()) > 10
    np.testing.assert_allclose(
        frozen.predict(features, verbose=0),
        model.predict(features, verbose=0),
        atol=1e-2,  # codebooks are stored as float16
    )
