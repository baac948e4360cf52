"""The examples beside a model fit its signatures and give its answers."""

import json
import re

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format

import mec_tf
from mec_tf.export.request_examples import EXAMPLES, served_name
from mec_tf.export.serving_protos import message

SIGNATURES = ("serving_default", "ids")


@pytest.fixture
def exported(tmp_path, model, vocabularies):
    mec_tf.export.save(
        model,
        tmp_path / "ctr" / "3",
        vocabularies=vocabularies,
        activation="sigmoid",
    )
    return tmp_path / "ctr" / "3"


def test_rest_rows_give_the_response(exported):
    loaded = tf.saved_model.load(str(exported))
    response = json.loads(
        (exported / EXAMPLES / "rest_response.json").read_text()
    )
    for name in SIGNATURES:
        text = (exported / EXAMPLES / f"rest_{name}.json").read_text()
        body = json.loads(text)
        assert body["signature_name"] == name
        signature = loaded.signatures[name]
        specs = signature.structured_input_signature[1]
        for row in body["instances"]:
            assert set(row) == set(specs)
        columns = {
            key: tf.constant(
                [row[key] for row in body["instances"]], spec.dtype
            )
            for key, spec in specs.items()
        }
        (found,) = signature(**columns).values()
        assert len(set(found.numpy().ravel())) == len(body["instances"]) == 2
        np.testing.assert_allclose(found, response["predictions"], atol=1e-6)


def test_grpc_requests_give_the_response(exported):
    loaded = tf.saved_model.load(str(exported))
    response = json.loads(
        (exported / EXAMPLES / "rest_response.json").read_text()
    )
    for name in SIGNATURES:
        text = (exported / EXAMPLES / f"grpc_{name}.textproto").read_text()
        request = text_format.Parse(text, message("PredictRequest"))
        assert request.model_spec.name == "ctr"
        assert request.model_spec.signature_name == name
        signature = loaded.signatures[name]
        specs = signature.structured_input_signature[1]
        inputs = {
            key: tf.io.parse_tensor(proto.SerializeToString(), specs[key].dtype)
            for key, proto in request.inputs.items()
        }
        assert set(inputs) == set(specs)
        (found,) = signature(**inputs).values()
        np.testing.assert_allclose(found, response["predictions"], atol=1e-6)


def test_models_config(exported):
    text = (exported / EXAMPLES / "models.config").read_text()
    config = text_format.Parse(text, message("ModelServerConfig"))
    (entry,) = config.model_config_list.config
    assert entry.name == "ctr" and entry.base_path == "/models/ctr"
    assert entry.model_platform == "tensorflow"


def test_layout_stays_a_version_folder(exported):
    # TensorFlow Serving takes each numbered folder for a version.
    assert [p.name for p in exported.parent.iterdir()] == ["3"]
    top = {p.name for p in exported.iterdir()}
    assert top == {
        "assets",
        "assets.extra",
        "fingerprint.pb",
        "saved_model.pb",
        "variables",
    }


def test_named_outputs_and_bytes(tmp_path):
    class Named(tf.keras.Model):
        def call(self, inputs):
            length = tf.strings.length(inputs["text"])
            return {"a": length, "b": tf.cast(length, tf.float32) / 2}

    example = {"text": np.array(["é", b"\xff\xfe"], object)}
    mec_tf.export.save(Named(), tmp_path / "m", example=example)
    folder = tmp_path / "m" / EXAMPLES
    body = json.loads((folder / "rest_ids.json").read_text())
    assert body["instances"] == [{"text": "é"}, {"text": {"b64": "//4="}}]
    response = json.loads((folder / "rest_response.json").read_text())
    assert response["predictions"] == [{"a": 2, "b": 1.0}] * 2
    assert re.search(r'name: "m"', (folder / "models.config").read_text())


@pytest.mark.parametrize(
    "path, name",
    [
        ("serving/ctr/12", "ctr"),
        ("serving/ctr", "ctr"),
        ("/1", "model"),
    ],
)
def test_served_name(path, name):
    assert served_name(path) == name
