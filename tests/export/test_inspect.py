"""Reading back what an export holds."""

import json
import subprocess

import numpy as np
import pytest
import tensorflow as tf

import mec_tf
from mec_tf import compression
from mec_tf.export.checksums import CHECKSUM_FILE, write_checksums
from mec_tf.export.inspect import EMBEDDING_FILE


@pytest.fixture
def saved(tmp_path, model, vocabularies):
    mec_tf.export.save(model, tmp_path / "1", vocabularies=vocabularies)
    return tmp_path / "1"


def test_tables_and_variables(saved, model):
    contents = mec_tf.export.inspect_saved_model(saved)
    tables = {table.path: table for table in contents.tables}
    counted = compression.model_bytes(model)
    assert {p: t.bytes for p, t in tables.items()} == counted
    assert contents.bytes_on_disk == sum(counted.values())
    assert contents.full_bytes == compression.full_bytes(model)
    user = tables["field_embeddings/tables/user id"]
    assert (user.kind, user.rows, user.dim) == ("CodeLookupEmbedding", 300, 9)
    assert user.settings["num_subspaces"] == 2
    assert user.settings["codebook_size"] == 16
    variables = {v.name: v for v in contents.variables}
    codes = variables["field_embeddings/tables/user id/codes"]
    assert (codes.shape, codes.dtype, codes.bytes) == ((300, 2), "uint8", 600)
    reader = tf.train.load_checkpoint(str(saved / "variables" / "variables"))
    layer = model.field_embeddings.tables["user id"]
    np.testing.assert_array_equal(
        reader.get_tensor(codes.key), np.asarray(layer.codes)
    )
    assert len(variables) == len(contents.variables) == len(model.weights)
    sizes = [v.bytes for v in contents.variables]
    assert sizes == sorted(sizes, reverse=True)


def test_foreign_saved_model_has_no_tables(tmp_path):
    module = tf.Module()
    module.rate_a = tf.Variable([1.0, 2.0])
    tf.saved_model.save(module, str(tmp_path / "1"))
    contents = mec_tf.export.inspect_saved_model(tmp_path / "1")
    assert contents.tables == () and contents.bytes_on_disk == 0
    assert [(v.name, v.bytes) for v in contents.variables] == [("rate_a", 8)]


def test_missing_and_damaged_files(tmp_path, saved):
    with pytest.raises(FileNotFoundError, match="No SavedModel"):
        mec_tf.export.inspect_saved_model(tmp_path / "none")
    file = saved / EMBEDDING_FILE
    document = json.loads(file.read_text())

    def check(match, text):
        file.write_text(text)
        with pytest.raises(mec_tf.ArtifactError, match="SHA256SUMS"):
            mec_tf.export.inspect_saved_model(saved)
        write_checksums(saved)  # as somebody would who knows the format
        with pytest.raises(mec_tf.ArtifactError, match=match):
            mec_tf.export.inspect_saved_model(saved)

    check("damaged", "{")
    check("damaged", "[]")
    check("version 1", json.dumps({**document, "version": 2}))
    check("damaged", json.dumps({"format": document["format"]}))
    document["tables"][0]["bytes"] += 1
    check("must have", json.dumps(document))
    document["tables"][0]["variables"] = ["other"]
    check("damaged", json.dumps(document))
    file.unlink()
    (saved / "variables" / "variables.index").write_bytes(b"junk")
    write_checksums(saved)
    with pytest.raises(mec_tf.ArtifactError, match="are damaged"):
        mec_tf.export.inspect_saved_model(saved)


def test_every_file_is_compared_with_its_checksum(saved):
    files = [file for file in saved.rglob("*") if file.is_file()]
    assert len(files) > 10
    for file in files:
        content = file.read_bytes()
        for damaged in (content + b"x", content[:-1]):
            file.write_bytes(damaged)
            with pytest.raises(mec_tf.ArtifactError, match="is damaged"):
                mec_tf.export.inspect_saved_model(saved)
        file.unlink()
        with pytest.raises((mec_tf.ArtifactError, FileNotFoundError)):
            mec_tf.export.inspect_saved_model(saved)
        file.write_bytes(content)
    subprocess.run(
        ["sha256sum", "--check", "--quiet", "--strict", CHECKSUM_FILE],
        cwd=saved,
        check=True,
    )
    (saved / "assets.extra" / "mine").write_text("a note of the user's")
    mec_tf.export.inspect_saved_model(saved)
    (saved / "variables" / "variables.data-00001-of-00002").touch()
    with pytest.raises(mec_tf.ArtifactError, match="is not in"):
        mec_tf.export.inspect_saved_model(saved)
