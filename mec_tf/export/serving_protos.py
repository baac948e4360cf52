"""The public TensorFlow Serving messages that an export writes.

Their package would tie this one to one release of TensorFlow, so the few that
are needed are described here, with the names and field numbers of the public
`.proto` files. They live in a pool of their own: in the default one they would
collide with `tensorflow-serving-api` where a user has it.
"""

import functools
from typing import Any

import tensorflow as tf
from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    message_factory,
    wrappers_pb2,
)

_PACKAGE = "tensorflow.serving"
_TENSOR = ".tensorflow.TensorProto"
_Field = descriptor_pb2.FieldDescriptorProto

# {message: {field: (number, type; a message's full name; repeated)}}
_MESSAGES: dict[str, dict[str, tuple[int, Any, bool]]] = {
    "ModelSpec": {
        "name": (1, _Field.TYPE_STRING, False),
        "version": (2, ".google.protobuf.Int64Value", False),
        "version_label": (4, _Field.TYPE_STRING, False),
        "signature_name": (3, _Field.TYPE_STRING, False),
    },
    "PredictRequest": {
        "model_spec": (1, f".{_PACKAGE}.ModelSpec", False),
        "inputs": (2, f".{_PACKAGE}.PredictRequest.InputsEntry", True),
        "output_filter": (3, _Field.TYPE_STRING, True),
    },
    "PredictLog": {"request": (1, f".{_PACKAGE}.PredictRequest", False)},
    "PredictionLog": {"predict_log": (6, f".{_PACKAGE}.PredictLog", False)},
    "ModelConfig": {
        "name": (1, _Field.TYPE_STRING, False),
        "base_path": (2, _Field.TYPE_STRING, False),
        "model_platform": (4, _Field.TYPE_STRING, False),
    },
    "ModelConfigList": {"config": (1, f".{_PACKAGE}.ModelConfig", True)},
    "ModelServerConfig": {
        "model_config_list": (1, f".{_PACKAGE}.ModelConfigList", False)
    },
}
_ONEOFS = {
    "ModelSpec": ("version_choice", ("version", "version_label")),
    "PredictionLog": ("log_type", ("predict_log",)),
    "ModelServerConfig": ("config", ("model_config_list",)),
}


def message(name: str) -> Any:
    """A new, empty message, such as "PredictRequest"."""
    return _classes()[name]()


@functools.cache
def _classes() -> dict[str, Any]:
    pool = descriptor_pool.DescriptorPool()
    tensor_file = type(tf.make_tensor_proto(0)).DESCRIPTOR.file
    added: set[str] = set()
    for file in (tensor_file, wrappers_pb2.DESCRIPTOR):
        _add_file(pool, file, added)
    own = descriptor_pb2.FileDescriptorProto(
        name="mec_tf/serving.proto",
        package=_PACKAGE,
        syntax="proto3",
        dependency=[tensor_file.name, wrappers_pb2.DESCRIPTOR.name],
    )
    for name, fields in _MESSAGES.items():
        described = own.message_type.add(name=name)
        for field, (number, kind, repeated) in fields.items():
            _add_field(described, field, number, kind, repeated)
        if name in _ONEOFS:
            oneof, members = _ONEOFS[name]
            described.oneof_decl.add(name=oneof)
            for field_proto in described.field:
                if field_proto.name in members:
                    field_proto.oneof_index = 0
        if name == "PredictRequest":
            entry = described.nested_type.add(name="InputsEntry")
            entry.options.map_entry = True
            _add_field(entry, "key", 1, _Field.TYPE_STRING)
            _add_field(entry, "value", 2, _TENSOR)
    pool.Add(own)
    return {
        name: message_factory.GetMessageClass(
            pool.FindMessageTypeByName(f"{_PACKAGE}.{name}")
        )
        for name in _MESSAGES
    }


def _add_file(pool: Any, file: Any, added: set[str]) -> None:
    """Adds a file that a generated module holds, dependencies first."""
    if file.name in added:
        return
    added.add(file.name)
    for dependency in file.dependencies:
        _add_file(pool, dependency, added)
    pool.AddSerializedFile(file.serialized_pb)


def _add_field(
    owner: Any, name: str, number: int, kind: Any, repeated: bool = False
) -> None:
    field = owner.field.add(
        name=name,
        number=number,
        label=_Field.LABEL_REPEATED if repeated else _Field.LABEL_OPTIONAL,
    )
    if isinstance(kind, str):
        field.type, field.type_name = _Field.TYPE_MESSAGE, kind
    else:
        field.type = kind
