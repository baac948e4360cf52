"""The ways of running a table: traced, compiled, saved, exported, from C."""

import functools
import pathlib
import subprocess
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

import mec_tf
from benchmarks.reliability.id_tables import Subject, tables
from benchmarks.serve_c import build, write_requests

# Traced before a model is saved: ranks and dtypes.
SAVED = ((1, "int64"), (2, "int8"), (2, "uint32"), (2, "int64"), (2, "float32"))

Answer = Callable[[Subject, np.ndarray], Any]


def graphs(compiled: bool) -> Answer:
    """Traced functions, of unknown sizes unless XLA compiles them."""

    @functools.cache
    def traced(call: Any, dtype: str, rank: int) -> Any:
        signature = [tf.TensorSpec([None] * rank, dtype)]
        return tf.function(call, input_signature=signature)

    @functools.cache
    def jitted(call: Any) -> Any:
        return tf.function(call, jit_compile=True)

    def answer(subject: Subject, ids: np.ndarray) -> Any:
        if compiled:
            return jitted(subject.call)(tf.constant(ids))
        return traced(subject.call, ids.dtype.name, ids.ndim)(tf.constant(ids))

    return answer


def saved_models(folder: pathlib.Path) -> Answer:
    """A plain `tf.saved_model` round trip of each table."""

    @functools.cache
    def loaded(call: Any, pooled: bool, layer: Any) -> Any:
        module = tf.Module()
        module.layer = layer
        for rank, dtype in SAVED[1:] if pooled else SAVED:
            spec = tf.TensorSpec([None] * rank, dtype)
            function = tf.function(call, input_signature=[spec])
            setattr(module, f"{dtype}_{rank}", function)
        path = str(folder / str(len(list(folder.iterdir()))))
        tf.saved_model.save(module, path)
        return tf.saved_model.load(path)

    def answer(subject: Subject, ids: np.ndarray) -> Any:
        found = loaded(subject.call, subject.pooled, subject.layer)
        return getattr(found, f"{ids.dtype.name}_{ids.ndim}")(tf.constant(ids))

    return answer


def keras_models(folder: pathlib.Path) -> Answer:
    """A `.keras` round trip of each table, for int64 `[batch, length]`."""

    @functools.cache
    def loaded(call: Any) -> Any:
        inputs = tf.keras.Input((None,), dtype="int64")
        path = str(folder / f"{len(list(folder.iterdir()))}.keras")
        tf.keras.Model(inputs, call(inputs)).save(path)
        return tf.keras.models.load_model(path)

    return lambda subject, ids: loaded(subject.call)(tf.constant(ids))


def whole_model(oov: str | int, dtype: str) -> tf.keras.Model:
    """All tables, an id each: int `[batch]` to float `[batch, widths]`."""
    inputs = {
        f"ids_{place}": tf.keras.Input((), dtype=dtype, name=f"ids_{place}")
        for place in range(len(tables(oov)))
    }
    vectors = []
    for place, subject in enumerate(tables(oov)):
        ids = inputs[f"ids_{place}"]
        if subject.pooled:
            ids = tf.keras.layers.Reshape((1,))(ids)
        vectors.append(subject.call(ids))
    return tf.keras.Model(inputs, tf.keras.layers.Concatenate()(vectors))


class Exports:
    """SavedModels of `mec_tf.export.save`, run from Python and from C."""

    def __init__(self, folder: pathlib.Path):
        self.folder = folder

    @functools.cached_property
    def program(self) -> pathlib.Path:
        return build(self.folder)

    @functools.cache  # noqa: B019
    def path(self, oov: str | int, dtype: str, compiled: bool) -> str:
        path = self.folder / f"{oov}_{dtype}_{compiled}"
        mec_tf.export.save(
            whole_model(oov, dtype),
            path,
            example={
                f"ids_{place}": np.zeros(4, dtype)
                for place in range(len(tables(oov)))
            },
            jit_compile=compiled,
            warmup=(),
        )
        return str(path)

    @functools.cache  # noqa: B019
    def signature(self, oov: str | int, dtype: str, compiled: bool) -> Any:
        model = tf.saved_model.load(self.path(oov, dtype, compiled))
        function = model.signatures["ids"]
        function.kept = model  # or its variables would be gone
        return function

    def requests(self, oov: str | int, ids: np.ndarray) -> dict[str, Any]:
        """Each table has the ids in another order."""
        return {
            f"ids_{place}": np.roll(ids, place)
            for place in range(len(tables(oov)))
        }

    def answer(
        self, oov: str | int, ids: np.ndarray, compiled: bool
    ) -> np.ndarray:
        function = self.signature(oov, ids.dtype.name, compiled)
        given = {
            name: tf.constant(value)
            for name, value in self.requests(oov, ids).items()
        }
        return function(**given)["logits"].numpy()

    def answer_in_c(self, oov: str | int, ids: np.ndarray) -> np.ndarray:
        path = self.path(oov, ids.dtype.name, False)
        requests = write_requests(
            self.folder / "requests", path, self.requests(oov, ids), "ids"
        )
        done = subprocess.run(
            [str(self.program), path, str(requests), "--print"],
            capture_output=True,
            text=True,
        )
        if done.returncode:
            # As Python says it.
            raise tf.errors.InvalidArgumentError(None, None, done.stderr)
        return np.array(done.stdout.split(), np.float32).reshape(len(ids), -1)
