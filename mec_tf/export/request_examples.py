"""Examples of what goes to and comes from TensorFlow Serving."""

import json
import os
import pathlib
from collections.abc import Mapping

from google.protobuf import text_format

from mec_tf.export.predict_requests import (
    Arrays,
    first_rows,
    json_rows,
    predict_request,
)
from mec_tf.export.serving_protos import message

EXAMPLES = "assets.extra/examples"
_ROWS = 2
_TEXTPROTO = """\
# proto-file: tensorflow_serving/apis/predict.proto
# proto-message: tensorflow.serving.PredictRequest
"""


def served_name(path: str | os.PathLike) -> str:
    """What a server would call the model: "ctr" for "serving/ctr/1"."""
    folder = pathlib.Path(os.path.realpath(path))
    name = folder.parent.name if folder.name.isdigit() else folder.name
    return name or "model"


def write_examples(
    folder: pathlib.Path,
    name: str,
    requests: Mapping[str, Arrays],
    answers: Arrays,
) -> None:
    """Writes `assets.extra/examples`: a server's configuration, requests.

    - `models.config`, for `--model_config_file`;
    - `rest_<signature>.json`, the body of a POST to
      `/v1/models/<name>:predict`;
    - `grpc_<signature>.textproto`, a `PredictRequest`;
    - `rest_response.json`, what the server answers to each of them.

    Args:
        folder: the SavedModel.
        name: the model's name in the server.
        requests: `{signature: {input: [batch, ...]}}`.
        answers: `{output: [batch, ...]}`.
    """
    place = folder / EXAMPLES
    place.mkdir(parents=True, exist_ok=True)
    config = message("ModelServerConfig")
    config.model_config_list.config.add(
        name=name, base_path=f"/models/{name}", model_platform="tensorflow"
    )
    _write(place / "models.config", text_format.MessageToString(config))
    rows = min(_ROWS, *(len(answer) for answer in answers.values()))
    for signature, arrays in requests.items():
        batch = first_rows(arrays, rows)
        body = {"signature_name": signature, "instances": json_rows(batch)}
        _write(place / f"rest_{signature}.json", _json(body))
        request = predict_request(name, signature, batch)
        _write(
            place / f"grpc_{signature}.textproto",
            _TEXTPROTO + text_format.MessageToString(request, as_utf8=True),
        )
    predictions = json_rows(first_rows(answers, rows))
    if len(answers) == 1:
        # The server leaves the name of a single output out.
        predictions = [value for row in predictions for value in row.values()]
    _write(place / "rest_response.json", _json({"predictions": predictions}))


def _json(document: dict) -> str:
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def _write(file: pathlib.Path, text: str) -> None:
    file.write_text(text, encoding="utf-8")
