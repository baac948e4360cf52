"""What every test shares: a quiet CPU, fixed seeds, and the two Kerases.

TensorFlow binds to one Keras for the life of a process, so what holds Keras is
tested twice: Keras 3 here, Keras 2 in a child that starts beside it and is
judged by `test_keras2.py`. To run the Keras 2 part alone and see it directly:

    TF_USE_LEGACY_KERAS=1 python -m pytest
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
os.environ.setdefault("MPLBACKEND", "Agg")

import hypothesis
import pytest
import tensorflow as tf

from tests import offline
from tests.keras2_child import Keras2Child

KERAS_2 = not hasattr(tf.keras, "ops")
_CHILD = pytest.StashKey[Keras2Child]()
_JUDGE = "test_keras2.py"

# A second logical CPU lets MirroredStrategy have two replicas anywhere. It
# has to be asked for before TensorFlow runs its first op.
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0],
    [tf.config.LogicalDeviceConfiguration()] * 2,
)

offline.forbid_network()

# Wall-clock deadlines fail on a busy machine, and a failure must repeat.
hypothesis.settings.register_profile(
    "mec_tf", deadline=None, derandomize=True, database=None
)
hypothesis.settings.load_profile("mec_tf")

# The child has no child of its own; what holds no Keras is tested once.
collect_ignore = [_JUDGE, "data", "files", "quantizers"] if KERAS_2 else []


def pytest_configure(config):
    config.stash[_CHILD] = Keras2Child(config.rootpath)


def pytest_collection_modifyitems(config, items):
    """Drops the other Keras's tests and puts the child's judge last."""
    foreign = "keras3_only" if KERAS_2 else "keras2_only"
    dropped = [item for item in items if item.get_closest_marker(foreign)]
    if dropped:
        config.hook.pytest_deselected(items=dropped)
        items[:] = [i for i in items if not i.get_closest_marker(foreign)]
    items.sort(key=_is_judge)


def pytest_collection_finish(session):
    """Starts the child early, so that both processes work side by side."""
    is_xdist_worker = hasattr(session.config, "workerinput")
    if session.config.option.collectonly or is_xdist_worker:
        return
    if any(_is_judge(item) for item in session.items):
        session.config.stash[_CHILD].start()


def pytest_terminal_summary(terminalreporter, config):
    counts = config.stash[_CHILD].counts()
    if counts is not None:
        listed = ", ".join(f"{n} {name}" for name, n in counts.items())
        terminalreporter.write_line(f"Keras 2, in the child process: {listed}")


def pytest_unconfigure(config):
    config.stash[_CHILD].stop()


def _is_judge(item):
    return item.path.name == _JUDGE


@pytest.fixture
def keras2_child(request):
    """The child process, started if it does not run yet."""
    child = request.config.stash[_CHILD]
    child.start()
    return child


@pytest.fixture(autouse=True)
def fixed_seeds():
    """Python, NumPy and TensorFlow start every test from the same seed."""
    tf.keras.utils.set_random_seed(2015)


@pytest.fixture(autouse=True)
def no_network():
    """A test fails if anything it calls tries to leave this machine."""
    before = len(offline.attempts)
    yield
    assert not offline.attempts[before:], "a test must not use the network"
