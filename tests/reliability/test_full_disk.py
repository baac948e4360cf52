"""A disk without room: what stood there stays, and the error says so.

On a small file system in memory, where the test may mount one; else below a
limit of a file's size, which the same writes run into.
"""

import contextlib
import errno
import pathlib
import resource
import shutil
import subprocess

import numpy as np
import pytest
import tensorflow as tf

import mec_tf
from mec_tf.cli import main as cli
from mec_tf.files import naming_full_disk
from mec_tf.layers import CodeLookupEmbedding, TableEmbedding
from mec_tf.training import FitSettings, fit
from mec_tf.training.training_state import load_state, save_state
from tests.cli.test_commands import command, write_log
from tests.training.test_full_precision import make, small_log

ROWS, DIM = 4000, 8
ROOM = 1 << 20
FULL = r"The disk is full \((No space left on device|File too large)\)"


@pytest.fixture
def disk(tmp_path):
    """A folder, and what leaves no room in it."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={ROOM}", "tmpfs", folder]
    if (
        shutil.which("mount")
        and not subprocess.run(mount, capture_output=True).returncode
    ):
        yield folder, lambda: filled(folder)
        # Logs may still be mapped into memory.
        subprocess.run(["umount", "--lazy", folder], check=True)
    else:
        yield folder, limited


@contextlib.contextmanager
def filled(folder):
    """Fills a disk but for 8 kB."""
    rest = folder / "rest"
    with contextlib.suppress(OSError), rest.open("wb") as file:
        while file.write(bytes(4096)):
            file.flush()
    with rest.open("r+b") as file:
        file.truncate(rest.stat().st_size - 8192)
    yield
    rest.unlink()


@contextlib.contextmanager
def limited():
    """Files of more than 8 kB cannot be written."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def model_of(layer):
    ids = tf.keras.Input((), dtype="int32")
    model = tf.keras.Model(ids, tf.keras.layers.Dense(1)(layer(ids)))
    model.compile("adam", "mse")
    return model


def assert_left(folder, names):
    assert {p.name for p in folder.iterdir()} == set(names)


def assert_named(caught, path):
    assert caught.value.errno in (errno.ENOSPC, errno.EFBIG)
    assert pathlib.Path(caught.value.filename).name == path.name


def test_training_state(disk):
    folder, without_room = disk
    path = folder / "state.npz"
    model = model_of(TableEmbedding(ROWS, DIM))
    save_state(path, model, {"epoch": 1})
    before = model.get_weights()
    model.set_weights([w + 1 for w in before])
    with without_room():
        with pytest.raises(OSError, match=FULL) as caught:
            save_state(path, model, {"epoch": 2})
        assert_named(caught, path)
    assert_left(folder, ["state.npz"])
    progress, _ = load_state(path, model)
    assert progress == {"epoch": 1}
    for one, other in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, other)
    save_state(path, model, {"epoch": 2})


def test_a_training_goes_on_when_there_is_room_again(disk):
    folder, without_room = disk
    log = small_log()
    settings = FitSettings(0.05, 0.0, 64, epochs=1, evaluations=2, patience=3)

    def larger(settings):
        model = make(settings)
        model.extra = TableEmbedding(600, DIM)
        model.extra.build()
        return model

    with without_room():
        with pytest.raises(OSError, match=FULL) as caught:
            fit(larger, log, settings, folder / "fit", verbose=0)
        assert_named(caught, folder / "fit" / "state.npz")
    _, scores = fit(larger, log, settings, folder / "fit", verbose=0)
    assert scores.auc > 0.5


def test_codes(disk):
    folder, without_room = disk
    path = folder / "codes.safetensors"
    rng = np.random.default_rng(0)

    def codes_of(seed):
        layer = CodeLookupEmbedding.from_codes(
            rng.integers(0, 64, (ROWS, 4)).astype("uint8"),
            rng.normal(size=(4, 64, 2)).astype("float32"),
            name="item",
        )
        return mec_tf.EmbeddingCodes.from_model(model_of(layer))

    old = codes_of(0)
    old.save(path)
    with without_room():
        with pytest.raises(OSError, match=FULL) as caught:
            codes_of(1).save(path)
        assert_named(caught, path)
    assert_left(folder, [path.name])
    found = mec_tf.EmbeddingCodes.load(path)
    ids = np.arange(ROWS)
    np.testing.assert_array_equal(
        found.vectors(found.names[0], ids), old.vectors(old.names[0], ids)
    )


def test_export(disk):
    folder, without_room = disk
    path = folder / "serving"
    model = model_of(TableEmbedding(ROWS, DIM))
    mec_tf.export.save(model, path, warmup=())
    before = mec_tf.export.inspect_saved_model(path)
    with without_room():
        with pytest.raises(OSError, match=FULL) as caught:
            mec_tf.export.save(model, path, warmup=(), overwrite=True)
        assert_named(caught, path)
    assert_left(folder, ["serving"])
    assert mec_tf.export.inspect_saved_model(path) == before


def test_keras_file(disk):
    folder, without_room = disk
    path = folder / "model.keras"
    model = model_of(TableEmbedding(ROWS, DIM))
    mec_tf.export.save_keras(model, path)
    before = path.read_bytes()
    with without_room(), pytest.raises(OSError, match=FULL) as caught:
        mec_tf.export.save_keras(model, path)
    assert_named(caught, path)
    assert path.read_bytes() == before


def test_command(disk, tmp_path, capsys):
    folder, without_room = disk
    log = write_log(tmp_path / "log.csv", rows=1500)
    argv = command(log, folder / "out")
    with without_room():
        assert cli.main(cli._parse(argv)) == 2
    error = capsys.readouterr().err
    assert "The disk is full" in error and str(folder) in error
    assert_left(folder, [])


def test_other_errors_pass():
    with pytest.raises(OSError, match="elsewhere"):
        with naming_full_disk("here"):
            raise OSError(errno.EACCES, "Permission denied", "elsewhere")
    with pytest.raises(OSError, match=f"{FULL}.*'here'"):
        with naming_full_disk("here"):
            raise tf.errors.ResourceExhaustedError(
                None, None, "No space left on device"
            )
