"""Where the variables of a SavedModel stand in its file."""

import dataclasses
import pathlib

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import trackable_object_graph_pb2

from mec_tf.export.inspect import readable_name

DATA_FILE = "variables/variables.data-00000-of-00001"
_OBJECTS = "_CHECKPOINTABLE_OBJECT_GRAPH"


@dataclasses.dataclass(frozen=True)
class Place:
    """A variable's bytes.

    Args:
        name: readable name; "" for the description of the objects.
        start: its first byte in the file.
        length: how many they are.
        row_bytes: how many are of one row.
        kind: what two variables must share to be compared row by row.
    """

    name: str
    start: int
    length: int
    row_bytes: int
    kind: tuple


def variable_layout(folder: pathlib.Path) -> dict[str, Place] | None:
    """`{checkpoint key: Place}` in the order of the file.

    TensorFlow tells where a variable stands by no public function. It writes
    them in the order in which the description of the objects, which comes
    last, names them; here that is checked against their values, and None is
    returned where it does not hold.
    """
    file = folder / DATA_FILE
    if not file.is_file() or not file.stat().st_size:
        return None
    try:
        reader = tf.train.load_checkpoint(str(file.parent / "variables"))
    except (tf.errors.OpError, ValueError):
        return None
    shapes = reader.get_variable_to_shape_map()
    dtypes = reader.get_variable_to_dtype_map()
    if _OBJECTS not in shapes:
        return None
    objects = trackable_object_graph_pb2.TrackableObjectGraph()
    objects.ParseFromString(reader.get_tensor(_OBJECTS))
    order = [a.checkpoint_key for n in objects.nodes for a in n.attributes]
    known = sorted(order) == sorted(set(shapes) - {_OBJECTS})
    if not known or any(dtypes[key] == tf.string for key in order):
        return None
    data = np.memmap(file, np.uint8, "r")
    layout, start = {}, 0
    for key in order:
        value = np.ascontiguousarray(reader.get_tensor(key))
        rows = shapes[key][0] if shapes[key] else 1
        if value.tobytes() != data[start : start + value.nbytes].tobytes():
            return None
        layout[key] = Place(
            name=readable_name(key),
            start=start,
            length=value.nbytes,
            row_bytes=value.nbytes // rows if rows else 0,
            kind=(dtypes[key].name, *shapes[key][1:]),
        )
        start += value.nbytes
    rest = len(data) - start
    layout[_OBJECTS] = Place("", start, rest, 0, ())
    return layout
