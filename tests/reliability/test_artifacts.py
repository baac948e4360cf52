"""A short run of `benchmarks.reliability.artifacts`, and what may not be used.

The full run is in `benchmarks/results/reliability_artifacts.json`.
"""

import ast
import dataclasses
import pathlib

import numpy as np
import pytest

import mec_tf
from benchmarks.reliability import artifact_kinds, artifacts
from mec_tf.training.training_state import load_state

PACKAGE = pathlib.Path(mec_tf.__file__).parent


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    return artifacts.run(
        tmp_path_factory.mktemp("artifacts"), 150, 40, 0,
        list(artifact_kinds.READ),
    )  # fmt: skip


def test_damaged_files_are_refused_or_harmless(rows):
    assert len(rows) >= 4 * len(artifact_kinds.READ) - 1
    for row in rows:
        assert row["failed"] == 0, row
        assert row["refused"] + row["same"] + row["another"] == row["cases"]
        assert set(row["errors"]) == {"ArtifactError"}
        # No array is made that a header only claims to hold.
        assert row["peak_memory_growth"] < 200e6
        if row["attack"] != "forged":
            assert row["same"] <= 0.05 * row["cases"] and not row["another"]


class Wrong(Exception):
    pass


def test_the_judge_knows_failures(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"intact")
    case = artifacts.Case("codes", "cut", "", 3)

    def outcome(answer):
        def read(_):
            if isinstance(answer, Exception):
                raise answer
            return answer

        kind = dataclasses.replace(artifact_kinds.READ["codes"], read=read)
        found, _ = artifacts.judge(
            kind, case, path, {"": b"intact"}, "expected"
        )
        assert path.read_bytes() == b"intact"
        return found

    assert outcome("expected") == "same"
    assert outcome("else") == "failed"
    assert outcome(mec_tf.ArtifactError(path, "bad")) == "refused"
    for error in (Wrong(), ValueError(), MemoryError(), FileNotFoundError()):
        assert outcome(error) == "failed"


def calls(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield (
                ast.unparse(node.func),
                {k.arg: k.value for k in node.keywords},
            )


def test_nothing_is_unpickled_or_evaluated():
    unsafe = {"pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
    files = list(PACKAGE.rglob("*.py"))
    assert len(files) > 100
    for file in files:
        tree = ast.parse(file.read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                names = {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                names = {str(node.module).split(".")[0]}
            else:
                continue
            assert not names & unsafe, file
        for name, keywords in calls(tree):
            assert name not in ("eval", "exec", "compile", "__import__"), file
            assert not name.endswith(("unsafe_deserialization",)), file
            if name in ("np.load", "numpy.load"):
                allowed = keywords["allow_pickle"]
                assert ast.literal_eval(allowed) is False, file
            if "safe_mode" in keywords:
                assert ast.literal_eval(keywords["safe_mode"]) is True, file


class Payload:
    """What runs when it is unpickled."""

    def __init__(self, proof):
        self.proof = proof

    def __reduce__(self):
        return pathlib.Path.touch, (self.proof,)


def test_pickled_payloads_do_not_run(tmp_path):
    proof = tmp_path / "proof"
    payload = np.array([Payload(proof)], object)
    np.save(tmp_path / "table.npy", payload, allow_pickle=True)
    with pytest.raises(ValueError, match="no NumPy file"):
        mec_tf.compression.read_table(tmp_path / "table.npy")
    np.savez(tmp_path / "state.npz", state=payload, now_0=payload)
    with pytest.raises(mec_tf.ArtifactError, match="is damaged"):
        load_state(tmp_path / "state.npz", None)
    for read, name in (
        (mec_tf.EmbeddingCodes.load, "codes.safetensors"),
        (mec_tf.export.load_keras, "model.keras"),
    ):
        payload.dump(tmp_path / name)
        with pytest.raises(mec_tf.ArtifactError):
            read(tmp_path / name)
    assert not proof.exists()
    np.load(tmp_path / "table.npy", allow_pickle=True)
    assert proof.exists()  # it would have run


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"text", b"\x80\x04N."])
def test_foreign_tables(tmp_path, content):
    path = tmp_path / "table.npy"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="no NumPy file"):
        mec_tf.compression.read_table(path)
    np.savez(tmp_path / "x.npz", x=np.zeros((3, 2)))
    (tmp_path / "x.npz").rename(path)
    with pytest.raises(ValueError, match="no NumPy file"):
        mec_tf.compression.read_table(path)
