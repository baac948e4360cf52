"""The warm-up file: public protos, each signature, each batch size."""

import numpy as np
import pytest
import tensorflow as tf

import mec_tf
from mec_tf.export.predict_requests import predict_request
from mec_tf.export.serving_protos import message
from mec_tf.export.warmup import WARMUP_FILE

# What the classes of the package `tensorflow-serving-api` 2.21 write for the
# messages of `test_public_bytes`.
LOG = (
    "323e0a3c0a0e0a03637472120208031a0369647312100a0161120b08031204120208013a"
    "010712100a0162120b08071204120208014201781a066c6f67697473"
)
CONFIG = "0a200a1e0a03637472120b2f6d6f64656c732f637472220a74656e736f72666c6f77"


def requests_of(path):
    for record in tf.data.TFRecordDataset(str(path / WARMUP_FILE)):
        log = message("PredictionLog")
        log.ParseFromString(record.numpy())
        yield log.predict_log.request


def tensors(request):
    """The inputs of a request, as TensorFlow reads them."""
    return {
        name: tf.io.parse_tensor(
            proto.SerializeToString(), tf.as_dtype(proto.dtype)
        )
        for name, proto in request.inputs.items()
    }


def test_each_request_runs(tmp_path, model, vocabularies):
    path = tmp_path / "ctr" / "1"
    mec_tf.export.save(model, path, vocabularies=vocabularies)
    loaded = tf.saved_model.load(str(path))
    seen = []
    for request in requests_of(path):
        assert request.model_spec.name == "ctr"
        signature = request.model_spec.signature_name
        inputs = tensors(request)
        (answer,) = loaded.signatures[signature](**inputs).values()
        assert answer.shape == (len(inputs["price"]), 1)
        assert len(np.unique(answer)) > 1 or len(answer) == 1
        seen.append((signature, len(answer)))
    assert sorted(seen) == [
        (signature, size)
        for signature in ("ids", "serving_default")
        for size in (1, 8, 64)
    ]


def test_sizes_are_chosen(tmp_path, model):
    mec_tf.export.save(model, tmp_path / "1", warmup=[3])
    sizes = [len(tensors(r)["price"]) for r in requests_of(tmp_path / "1")]
    assert sizes == [3, 3]
    mec_tf.export.save(model, tmp_path / "2", warmup=())
    assert not (tmp_path / "2" / WARMUP_FILE).exists()


@pytest.mark.parametrize("warmup", [[0], "18", [1.5], [True], range(1, 502)])
def test_bad_sizes_are_refused(tmp_path, model, warmup):
    with pytest.raises(ValueError, match="`warmup` must be"):
        mec_tf.export.save(model, tmp_path / "1", warmup=warmup)


@pytest.mark.parametrize(
    "array",
    [
        np.array([[1], [2]], np.int32),
        np.array([2**40, -1], np.int64),
        np.array([0.1, np.nan], np.float32),
        np.array([[0.1]], np.float64),
        np.array([True, False]),
        np.array(["é", b"\xff"], object),
        np.array([1, 2], np.uint8),
        np.array([0.5], np.float16),
    ],
    ids=lambda array: array.dtype.name,
)
def test_every_dtype_is_carried(array):
    request = predict_request("m", "s", {"x": array})
    found = tensors(request)["x"].numpy()
    if array.dtype == object:
        array = np.array(["é".encode(), b"\xff"], object)
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array)


def test_public_bytes():
    log = message("PredictionLog")
    inputs = {"a": np.array([7], np.int32), "b": np.array(["x"])}
    log.predict_log.request.CopyFrom(predict_request("ctr", "ids", inputs))
    log.predict_log.request.model_spec.version.value = 3
    log.predict_log.request.output_filter.append("logits")
    assert log.SerializeToString(deterministic=True).hex() == LOG
    config = message("ModelServerConfig")
    config.model_config_list.config.add(
        name="ctr", base_path="/models/ctr", model_platform="tensorflow"
    )
    assert config.SerializeToString(deterministic=True).hex() == CONFIG
    assert log.DESCRIPTOR.full_name == "tensorflow.serving.PredictionLog"
