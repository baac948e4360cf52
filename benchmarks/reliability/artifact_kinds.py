"""The files that mec_tf writes: how each is written, read back and forged."""

import dataclasses
import functools
import hashlib
import json
import pathlib
import warnings
import zipfile
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import tensorflow as tf

import mec_tf
from mec_tf.cli.pictures import draw_curve
from mec_tf.compression import DriftReport, TierDrift, codes_file
from mec_tf.export import delta_file
from mec_tf.export.checksums import write_checksums
from mec_tf.export.inspect import EMBEDDING_FILE
from mec_tf.files import CheckedFile, write_text
from mec_tf.layers import CodeLookupEmbedding, TableEmbedding
from mec_tf.training.training_state import load_state, save_state

ROWS = 6000
Writer = Callable[[pathlib.Path], Any]


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of file or directory.

    Args:
        file: its name.
        writers: makes, in a folder for what they need, two functions that
            write different ones of about 100 kB.
        read: reads one; the digest of all that it means.
        forge: rewrites one, with checksums that agree, as a random forger
            would. None: there is nothing to forge.
        error: what a reader may raise.
        promised: whether a reader of mec_tf is tested, not one of others.
    """

    file: str
    writers: Callable[[pathlib.Path], list[Writer]]
    read: Callable[[pathlib.Path], str]
    forge: Callable[[pathlib.Path, np.random.Generator], None] | None = None
    error: type[Exception] = mec_tf.ArtifactError
    promised: bool = True


def digest(parts: Iterable[Any]) -> str:
    """SHA-256 of arrays, bytes, and whatever else prints all of itself."""
    total = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            total.update(f"{part.dtype} {part.shape}".encode())
            part = np.ascontiguousarray(part).tobytes()
        total.update(part if isinstance(part, bytes) else repr(part).encode())
    return total.hexdigest()


def model(seed: int) -> tf.keras.Model:
    """Two tables and a kernel, about 80 kB."""
    rng = np.random.default_rng(seed)
    coded = CodeLookupEmbedding.from_codes(
        rng.integers(0, 256, (ROWS, 8)),
        rng.normal(size=(8, 256, 2)),
        name="coded",
    )
    ids = tf.keras.Input((), dtype="int32", name="ids")
    score = tf.keras.layers.Dense(1, name="score")
    made = tf.keras.Model(ids, score(coded(ids)))
    score.set_weights([rng.normal(size=(16, 1)), rng.normal(size=1)])
    return made


def mutated(value: Any, rng: np.random.Generator) -> Any:
    """A copy of a JSON value in which one place holds something else."""
    strange = (
        *(2**62, 2**40, 10**6, -1, 0, 1, 3, 1e308, -0.5, True, None),
        *("", "x", "../x", "a" * 1000, [], [[]], {}, {"class_name": "X"}),
    )
    if isinstance(value, dict) and value and rng.random() < 0.9:
        key = list(value)[rng.integers(len(value))]
        if rng.random() < 0.1:
            return {k: item for k, item in value.items() if k != key}
        return {**value, key: mutated(value[key], rng)}
    if isinstance(value, list) and value and rng.random() < 0.9:
        place = int(rng.integers(len(value)))
        return [
            *value[:place], mutated(value[place], rng), *value[place + 1 :],
        ]  # fmt: skip
    return strange[rng.integers(len(strange))]


def _forge_checked(
    file: CheckedFile, path: pathlib.Path, rng: np.random.Generator
) -> None:
    text, arrays = file.read(path)
    if rng.random() < 0.2:
        name = list(arrays)[rng.integers(len(arrays))]
        arrays[name] = arrays[name].reshape(-1)[: rng.integers(9)]
    elif rng.random() < 0.1:
        file = dataclasses.replace(file, version=str(rng.integers(2, 9)))
    text = json.dumps(mutated(json.loads(text), rng))
    file.write(path, text, arrays)


# --- embedding codes


def _codes(folder: pathlib.Path) -> list[Writer]:
    made = []
    for seed in (0, 1):
        rng = np.random.default_rng(seed)
        exact = TableEmbedding(500, 8)
        exact.build()
        exact.set_weights([rng.normal(size=(500, 8)).astype(np.float32)])
        residual = CodeLookupEmbedding.from_codes(
            rng.integers(0, 16, (900, 2)), rng.normal(size=(2, 16, 9)),
            additive_dim=9, bit_packed=True,
        )  # fmt: skip
        layers = {
            "coded": model(seed).get_layer("coded"),
            "residual": residual,
            "exact": exact,
        }
        made.append(
            mec_tf.EmbeddingCodes(
                {
                    name: mec_tf.compression.StoredTable.from_layer(
                        layer, rng.integers(0, 999, layer.input_dim)
                    )
                    for name, layer in layers.items()
                }
            ).save
        )
    return made


def _read_codes(path: pathlib.Path) -> str:
    codes = mec_tf.EmbeddingCodes.load(path)
    parts: list[Any] = []
    for name in codes.names:
        table = codes.table(name)
        parts += [name, table.kind, sorted(table.config.items()), table.counts]
        for weight, array in sorted(table.weights.items()):
            parts += [weight, array]
    return digest(parts)


# --- SavedModels and deltas of them


def _exports(folder: pathlib.Path) -> list[pathlib.Path]:
    """Exports of three models, made once."""
    made = [folder / "exports" / str(seed) for seed in range(3)]
    for seed, path in enumerate(made):
        if not path.exists():
            mec_tf.export.save(model(seed), path)
    return made


def _saved_model(folder: pathlib.Path) -> list[Writer]:
    return [
        functools.partial(_save_model, model(seed), overwrite=True)
        for seed in (0, 1)
    ]


def _save_model(made: tf.keras.Model, path: pathlib.Path, **kwargs) -> None:
    mec_tf.export.save(made, path, **kwargs)


def _read_saved_model(path: pathlib.Path) -> str:
    contents = mec_tf.export.inspect_saved_model(path)
    reader = tf.train.load_checkpoint(str(path / "variables" / "variables"))
    parts: list[Any] = [contents.tables]
    for variable in contents.variables:
        parts += [variable, reader.get_tensor(variable.key)]
    return digest(parts)


def _serve(path: pathlib.Path) -> str:
    """What TensorFlow alone makes of a SavedModel."""
    loaded = tf.saved_model.load(str(path))
    ids = tf.range(ROWS + 2, dtype=tf.int32)
    return digest(
        answer.numpy()
        for name in ("ids", "serving_default")
        for answer in loaded.signatures[name](ids=ids).values()
    )


def _forge_saved_model(path: pathlib.Path, rng: np.random.Generator) -> None:
    file = path / EMBEDDING_FILE
    changed = mutated(json.loads(file.read_text()), rng)
    file.write_text(json.dumps(changed))
    write_checksums(path)


def _delta(folder: pathlib.Path) -> list[Writer]:
    base, *others = _exports(folder)

    def write(new: pathlib.Path, path: pathlib.Path) -> None:
        path.unlink(missing_ok=True)
        mec_tf.export.save_delta(base, new, path)

    return [functools.partial(write, new) for new in others]


def _read_delta(path: pathlib.Path) -> str:
    exports = next(p for p in path.parents if (p / "exports").is_dir())
    base = exports / "exports" / "0"
    result = path.with_name("applied")
    mec_tf.export.apply_delta(base, path, result, overwrite=True)
    files = (file for file in sorted(result.rglob("*")) if file.is_file())
    return digest(
        part
        for file in files
        for part in (str(file.relative_to(result)), file.read_bytes())
    )


def _applied(folder: pathlib.Path) -> list[Writer]:
    base, *others = _exports(folder)
    deltas = [folder / f"applied_{new.name}.safetensors" for new in others]
    for new, path in zip(others, deltas, strict=True):
        if not path.exists():
            mec_tf.export.save_delta(base, new, path)

    def write(delta: pathlib.Path, path: pathlib.Path) -> None:
        mec_tf.export.apply_delta(base, delta, path, overwrite=True)

    return [functools.partial(write, delta) for delta in deltas]


# --- Keras files


def _keras(folder: pathlib.Path) -> list[Writer]:
    return [functools.partial(_save_keras, model(seed)) for seed in (0, 1)]


def _save_keras(made: tf.keras.Model, path: pathlib.Path) -> None:
    mec_tf.export.save_keras(made, path)


def _read_keras(path: pathlib.Path, load: Any = None) -> str:
    loaded = (load or mec_tf.export.load_keras)(path)
    answers = tf.nest.flatten(loaded(tf.range(9)))
    return digest([*loaded.get_weights(), *(a.numpy() for a in answers)])


def _forge_keras(path: pathlib.Path, rng: np.random.Generator) -> None:
    with zipfile.ZipFile(path) as archive:
        held = {name: archive.read(name) for name in archive.namelist()}
    config = mutated(json.loads(held["config.json"]), rng)
    held["config.json"] = json.dumps(config).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in held.items():
            archive.writestr(name, content)


# --- the state of a training


def _compiled(seed: int) -> tf.keras.Model:
    made = model(seed)
    made.compile(tf.keras.optimizers.SGD(momentum=0.9), "mse")
    return made


def _training_state(folder: pathlib.Path) -> list[Writer]:
    def write(made: tf.keras.Model, epoch: int, path: pathlib.Path) -> None:
        best = made.get_weights()
        save_state(path, made, {"epoch": epoch, "best": None}, best)

    return [functools.partial(write, _compiled(seed), seed) for seed in (0, 1)]


@functools.cache
def _resumed() -> tf.keras.Model:
    return _compiled(2)


def _read_state(path: pathlib.Path) -> str:
    found = load_state(path, _resumed())
    assert found is not None
    return digest([*_resumed().get_weights(), found[0], *found[1]])


def _forge_state(path: pathlib.Path, rng: np.random.Generator) -> None:
    with np.load(path, allow_pickle=False) as saved:
        held = dict(saved)
    if rng.random() < 0.5:
        text = json.dumps(mutated(json.loads(str(held["state"])), rng))
        held["state"] = np.array(text)
    else:
        name = list(held)[rng.integers(len(held))]
        other = (3, (0, 2**40), "x", (2, 2))[rng.integers(4)]
        held[name] = (
            np.array(other) if other == "x" else np.zeros(other, np.float32)
        )
    np.savez(path, **held)


# --- reports


def _drift(folder: pathlib.Path) -> list[Writer]:
    made = []
    for seed in (0, 1):
        values = np.random.default_rng(seed).random((900, 4)).tolist()
        tiers = {
            f"feature {place}": {"rare": TierDrift(row[0], place, *row[1:])}
            for place, row in enumerate(values)
        }
        made.append(DriftReport(0.5, 7, tiers).save)
    return made


def _read_drift(path: pathlib.Path) -> str:
    return digest([DriftReport.load(path)])


def _report(seed: int) -> dict[str, Any]:
    points = [
        {"ratio": r, "bytes": 1e6 / r, "auc": 0.7 - seed / 100}
        for r in range(1, 1000)
    ]
    one = points[seed]
    return {
        "dataset": "flights", "model": "deepfm", "ratio": 50.0 + seed,
        "full_precision": one, "compressed": one, "curve": points,
    }  # fmt: skip


def _json_report(folder: pathlib.Path) -> list[Writer]:
    def write(seed: int, path: pathlib.Path) -> None:
        write_text(path, json.dumps(_report(seed), indent=1) + "\n")

    return [functools.partial(write, seed) for seed in (0, 1)]


def _picture(folder: pathlib.Path) -> list[Writer]:
    def write(seed: int, path: pathlib.Path) -> None:
        draw_curve(_report(seed), path)

    return [functools.partial(write, seed) for seed in (0, 1)]


def _lite(folder: pathlib.Path) -> list[Writer]:
    def write(made: tf.keras.Model, path: pathlib.Path) -> None:
        mec_tf.export.save_litert(made, path, overwrite=True)

    return [functools.partial(write, model(seed)) for seed in (0, 1)]


def _read_lite(path: pathlib.Path) -> str:
    with warnings.catch_warnings():
        # Of its move to another package, on every use.
        warnings.simplefilter("ignore", UserWarning)
        interpreter = tf.lite.Interpreter(str(path))
    answer = interpreter.get_signature_runner("serving_default")
    ids = np.arange(ROWS, dtype=np.int32)
    return digest(answer(ids=ids).values())


def _bytes(path: pathlib.Path) -> str:
    return digest([path.read_bytes()])


def _plain_keras(path: pathlib.Path) -> str:
    return _read_keras(path, tf.keras.models.load_model)


# What this package reads, each by its own reader.
READ = {
    "codes": Kind(
        "codes.safetensors", _codes, _read_codes,
        functools.partial(_forge_checked, codes_file.FILE),
    ),
    "delta": Kind(
        "delta.safetensors", _delta, _read_delta,
        functools.partial(_forge_checked, delta_file.FILE),
    ),
    "training_state": Kind(
        "state.npz", _training_state, _read_state, _forge_state
    ),
    "drift_report": Kind("drift.json", _drift, _read_drift),
    "keras": Kind("model.keras", _keras, _read_keras, _forge_keras),
    "saved_model": Kind(
        "serving", _saved_model, _read_saved_model, _forge_saved_model
    ),
}  # fmt: skip
# The same files, read by Keras and TensorFlow without this package's checks.
UNCHECKED = {
    "keras, by Keras alone": Kind(
        "plain.keras", _keras, _plain_keras, None, Exception, False
    ),
    "saved_model, by TensorFlow alone": Kind(
        "plain", _saved_model, _serve, None, Exception, False
    ),
}
# What this package writes.
WRITTEN = {
    **READ,
    "applied_delta": Kind("applied_model", _applied, _read_saved_model),
    "report": Kind("report.json", _json_report, _bytes),
    "picture": Kind("auc.png", _picture, _bytes),
    "litert": Kind("model.tflite", _lite, _read_lite),
}
