"""Traced functions, with other ops or with variables stored otherwise."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tensorflow as tf

Build = Callable[..., tf.Tensor]

_READ = "ReadVariableOp"
_GATHER = "ResourceGather"


@dataclasses.dataclass(frozen=True)
class Stored:
    """A variable in the place of another one.

    Args:
        variable: of the same shape, in another dtype.
        decode: gives the old dtype's values of some of its values.
    """

    variable: tf.Variable
    decode: Build


def plain_reads(function: Any) -> list[tf.Variable]:
    """Variables that a concrete function only reads or gathers rows from.

    One that it hands on, to a function inside, is not among them.
    """
    nodes = function.graph.as_graph_def().node
    places = _captures(function)
    found = []
    for variable in function.variables:
        names = {n for n, v in places.items() if v is variable.handle}
        readers = [n for n in nodes if names & set(map(_base, n.input))]
        if readers and all(node.op in (_READ, _GATHER) for node in readers):
            found.append(variable)
    return found


def edited(
    function: Any,
    stored: Mapping[int, Stored],
    ops: Mapping[str, Build] | None = None,
) -> Any:
    """A concrete function that computes the same, otherwise.

    Rows are decoded after they are gathered, so a lookup never decodes a
    whole table.

    Args:
        function: a concrete function with keyword arguments.
        stored: `{id of a variable's handle: Stored}`, of `plain_reads`.
        ops: `{type of op: what is built of its inputs in its place}`.
    """
    graph_def = function.graph.as_graph_def()
    captures = _captures(function)
    swapped = {
        name: stored[id(handle)]
        for name, handle in captures.items()
        if id(handle) in stored
    }
    for node in graph_def.node:
        # Names of nodes to stand beside, which here may be gone.
        node.attr.pop("_class", None)
    nodes = _swap_reads(list(graph_def.node), swapped)
    nodes = _swap_ops(nodes, ops or {}, function.graph)
    arguments = function.structured_input_signature[1]
    inputs = {tensor.op.name for tensor in function.inputs}
    used = {_base(name) for node in nodes for name in node.input} & inputs
    del graph_def.node[:]
    graph_def.node.extend(node for node in nodes if node.name not in inputs)
    owner = dict(zip(arguments, function.inputs, strict=False))

    def serve(**given):
        feeds = {owner[name].op.name: given[name] for name in arguments}
        graph = tf.compat.v1.get_default_graph()
        for name, handle in captures.items():
            if name in swapped:
                handle = swapped[name].variable.handle
            feeds[name] = graph.capture(handle)
        outputs = tf.graph_util.import_graph_def(
            graph_def,
            {name: tensor for name, tensor in feeds.items() if name in used},
            [tensor.name for tensor in function.outputs],
            name="",
        )
        return tf.nest.pack_sequence_as(function.structured_outputs, outputs)

    return tf.function(serve).get_concrete_function(
        **{
            name: tf.TensorSpec(spec.shape, spec.dtype, name=name)
            for name, spec in arguments.items()
        }
    )


def _captures(function: Any) -> dict[str, Any]:
    """`{name of the placeholder: what the function captured there}`."""
    outer = function.captured_inputs
    inner = function.inputs[len(function.inputs) - len(outer) :]
    return {
        place.op.name: value for place, value in zip(inner, outer, strict=True)
    }


def _swap_reads(nodes: list[Any], swapped: Mapping[str, Stored]) -> list[Any]:
    result = list(nodes)
    for node in nodes:
        if node.op not in (_READ, _GATHER) or node.input[0] not in swapped:
            continue
        new = swapped[node.input[0]]
        dtype = new.variable.dtype.as_datatype_enum
        node.attr["dtype"].type = dtype
        targets = [node]
        if node.op == _READ:
            users = [n for n in nodes if node.name in _data_inputs(n)]
            if all(_gathers_from(n, node.name) for n in users):
                targets = users
                for user in users:
                    user.attr["Tparams"].type = dtype
        for target in targets:
            name = target.name
            target.name = f"{name}/stored"
            result += _built(
                name, [(target.name, new.variable.dtype)], new.decode
            )
    return result


def _swap_ops(
    nodes: list[Any], ops: Mapping[str, Build], graph: Any
) -> list[Any]:
    result = []
    for node in nodes:
        if node.op not in ops:
            result.append(node)
            continue
        inputs = graph.get_operation_by_name(node.name).inputs
        given = [
            (name, tensor.dtype)
            for name, tensor in zip(node.input, inputs, strict=False)
        ]
        result += _built(node.name, given, ops[node.op])
    return result


def _gathers_from(node: Any, name: str) -> bool:
    return (
        node.op == "GatherV2"
        and _base(node.input[0]) == name
        and name not in _data_inputs(node)[1:]
    )


def _data_inputs(node: Any) -> list[str]:
    """The nodes whose values a node takes."""
    return [_base(ref) for ref in node.input if not ref.startswith("^")]


def _built(
    name: str, inputs: Sequence[tuple[str, tf.DType]], build: Build
) -> list[Any]:
    """Nodes that build a tensor called `name` of others."""
    with tf.Graph().as_default() as graph:
        given = [
            tf.compat.v1.placeholder(dtype, name=f"given{place}")
            for place, (_, dtype) in enumerate(inputs)
        ]
        tf.identity(build(*given), name="result")
    outer = {f"given{place}": ref for place, (ref, _) in enumerate(inputs)}
    nodes = []
    for node in graph.as_graph_def().node:
        if node.name in outer:
            continue
        refs = [
            outer.get(_base(ref), f"{name}/{_base(ref)}") for ref in node.input
        ]
        node.name = name if node.name == "result" else f"{name}/{node.name}"
        del node.input[:]
        node.input.extend(refs)
        nodes.append(node)
    return nodes


def _base(ref: str) -> str:
    """The node that an input of a node names."""
    return ref.removeprefix("^").split(":")[0]
