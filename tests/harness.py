"""One test that every layer passes, on both Kerases.

`run_layer_test` puts a layer through the whole contract of a Keras layer:
configuration, shapes, masks, dtypes, every way of saving, every way of running
and one training step, on one device and on two.
"""

import copy
import functools
import inspect
import json
import pathlib
import tempfile
from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

_INTEGERS = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64")


def run_layer_test(
    layer_class: type[tf.keras.layers.Layer],
    init_kwargs: Mapping[str, Any],
    inputs: Any,
    *,
    expected_output_shape: Any,
    expected_mask: Any = None,
    expected_num_trainable_weights: int | None = None,
    expected_num_non_trainable_weights: int | None = None,
    prepare: Callable[[tf.keras.layers.Layer], None] | None = None,
    not_in_config: Collection[str] = (),
    supports_mixed: bool = True,
    supports_ragged: bool = False,
) -> tf.keras.layers.Layer:
    """Puts a layer through every check of this module.

    Args:
        layer_class: the layer's class, registered for serialization.
        init_kwargs: constructor arguments; give every one a value other than
            its default where its round trip should be proved.
        inputs: an array, or a list or dict of arrays, batch axis first. Integer
            arrays are fed in every integer dtype that can hold their values.
        expected_output_shape: a tuple, batch included, or a list or dict of
            tuples where the layer returns a list or dict.
        expected_mask: the boolean mask that the layer computes, or None.
        expected_num_trainable_weights: if given, checked after building.
        expected_num_non_trainable_weights: likewise.
        prepare: called once with the built layer to give it a state worth
            saving (a warm start, popularity counts). The state must live in
            weights: every copy below is made from the config and the weights.
        not_in_config: constructor arguments that on purpose are neither in
            the config nor an attribute (a table for a warm start).
        supports_mixed: check that `mixed_float16` gives finite float16
            outputs near the float32 ones.
        supports_ragged: check that a `tf.RaggedTensor` of single elements
            gives the ragged outputs of those elements.

    Returns:
        The built and prepared layer, for further checks of the caller's.
    """
    tensors = tf.nest.map_structure(tf.convert_to_tensor, inputs)
    layer = layer_class(**init_kwargs)
    _check_config(layer, init_kwargs, not_in_config)
    _check_output_shape(layer, tensors, expected_output_shape)
    if prepare is not None:
        prepare(layer)
    _check_num_weights(
        layer,
        expected_num_trainable_weights,
        expected_num_non_trainable_weights,
    )
    _check_mask(layer, tensors, expected_mask)
    _check_execution_modes(layer, tensors)
    _check_integer_dtypes(layer, tensors)
    if supports_ragged:
        _check_ragged(layer, tensors)
    if supports_mixed:
        _check_mixed_precision(layer, tensors)
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        _check_functional_model(layer, tensors, folder)
        _check_subclassed_model(layer, tensors, folder)
        _check_saved_model(layer, tensors, folder)
    _check_gradients(layer, tensors)
    for jit_compile in (False, True):
        _check_fit(layer, tensors, jit_compile)
    _check_mirrored_fit(layer, tensors)
    return layer


def assert_allclose(
    actual: Any,
    expected: Any,
    *,
    rtol: float = 1e-5,
    atol: float = 1e-6,
    message: str = "",
) -> None:
    """Compares two structures of tensors or arrays, leaf by leaf."""
    tf.nest.assert_same_structure(actual, expected)
    pairs = zip(tf.nest.flatten(actual), tf.nest.flatten(expected), strict=True)
    for one, other in pairs:
        np.testing.assert_allclose(
            np.asarray(one), np.asarray(other), rtol, atol, err_msg=message
        )


def assert_identical(actual: Any, expected: Any, *, message: str = "") -> None:
    """Like `assert_allclose`, but bit for bit, dtypes included."""
    tf.nest.assert_same_structure(actual, expected)
    pairs = zip(tf.nest.flatten(actual), tf.nest.flatten(expected), strict=True)
    for one, other in pairs:
        one, other = np.asarray(one), np.asarray(other)
        assert one.dtype == other.dtype, message
        np.testing.assert_array_equal(one, other, err_msg=message)


def raw_variable(variable: Any) -> tf.Variable:
    """Returns the `tf.Variable` behind a variable of either Keras."""
    return variable if isinstance(variable, tf.Variable) else variable.value


def copy_layer(
    layer: tf.keras.layers.Layer, inputs: Any, **config: Any
) -> tf.keras.layers.Layer:
    """Makes a built copy from the layer's config and weights alone."""
    twin = type(layer).from_config({**layer.get_config(), **config})
    twin(inputs)
    twin.set_weights(layer.get_weights())
    return twin


@functools.cache
def mirrored_strategy() -> tf.distribute.MirroredStrategy:
    """Returns the process's one strategy of two replicas on logical CPUs.

    A second strategy would number its all-reduces from the start again, and
    the runtime takes them for those of the first.
    """
    devices = tf.config.list_logical_devices("CPU")[:2]
    return tf.distribute.MirroredStrategy([device.name for device in devices])


def _check_config(layer, init_kwargs, not_in_config):
    config = layer.get_config()
    json.dumps(config)
    original = copy.deepcopy(config)
    twin = type(layer).from_config(config)
    assert config == original, "from_config changed its argument"
    assert twin.get_config() == original, "the config does not round-trip"

    if type(layer).__init__ is tf.keras.layers.Layer.__init__:
        return  # releases of Keras differ in what of it they store
    parameters = inspect.signature(type(layer).__init__).parameters.values()
    named = {
        p.name
        for p in list(parameters)[1:]
        if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    }
    for name in sorted(named - set(not_in_config)):
        assert name in config, f"`{name}` is missing from get_config()"
        assert hasattr(layer, name), f"`{name}` has no attribute"
        value = _plain(getattr(layer, name))
        assert _plain(getattr(twin, name)) == value, f"`{name}` was lost"
        given = _plain(init_kwargs.get(name))
        if given is not None and value is not None:
            assert value == given, f"`{name}` was not kept as given"


def _plain(value):
    """The value if it compares by content, else None."""
    if isinstance(value, (list, tuple)):
        return tuple(_plain(item) for item in value)
    return value if isinstance(value, (bool, int, float, str)) else None


def _check_output_shape(layer, tensors, expected):
    expected = _as_shapes(expected)
    unbuilt = type(layer).from_config(layer.get_config())
    symbolic = unbuilt.compute_output_shape(_map_shapes(tensors))
    free_batch = [(None, *shape[1:]) for shape in expected]
    assert _as_shapes(symbolic) == free_batch, "compute_output_shape is wrong"
    output = layer(tensors)
    actual = [tuple(tensor.shape) for tensor in tf.nest.flatten(output)]
    assert actual == expected, f"output shape {actual}, expected {expected}"


def _map_shapes(tensors):
    return tf.nest.map_structure(lambda t: (None, *t.shape[1:]), tensors)


def _as_shapes(structure):
    """Flattens a shape, or a list or dict of shapes, to a list of tuples."""
    if isinstance(structure, Mapping):
        return [tuple(structure[key]) for key in sorted(structure)]
    if isinstance(structure, list) and any(
        isinstance(item, (tuple, list, tf.TensorShape)) for item in structure
    ):
        return [tuple(item) for item in structure]
    return [tuple(structure)]


def _check_num_weights(layer, num_trainable, num_non_trainable):
    if num_trainable is not None:
        assert len(layer.trainable_weights) == num_trainable
    if num_non_trainable is not None:
        assert len(layer.non_trainable_weights) == num_non_trainable


def _check_mask(layer, tensors, expected):
    computed = layer.compute_mask(tensors, None)
    if expected is None:
        assert computed is None, "a mask where none was expected"
        return
    assert computed is not None, "no mask was computed"
    assert_identical(computed, np.asarray(expected), message="computed mask")
    carried = getattr(layer(tensors), "_keras_mask", None)
    assert carried is not None, "the output carries no mask"
    assert_identical(carried, np.asarray(expected), message="carried mask")


def _check_execution_modes(layer, tensors):
    before = layer.get_weights()
    eager = layer(tensors)
    assert_identical(layer.get_weights(), before, message="inference has state")
    assert_allclose(tf.function(layer)(tensors), eager, message="in a graph")
    compiled = tf.function(layer, jit_compile=True)
    assert_allclose(compiled(tensors), eager, message="under XLA")


def _check_integer_dtypes(layer, tensors):
    ids = [t for t in tf.nest.flatten(tensors) if t.dtype.is_integer]
    if not ids:
        return
    low = min(int(tf.reduce_min(t)) for t in ids)
    high = max(int(tf.reduce_max(t)) for t in ids)
    expected = layer(tensors)
    for dtype in map(tf.as_dtype, _INTEGERS):
        if dtype.min <= low and high <= dtype.max:
            output = layer(_cast_integers(tensors, dtype))
            message = f"for {dtype.name} inputs"
            assert_identical(output, expected, message=message)


def _cast_integers(tensors, dtype):
    return tf.nest.map_structure(
        lambda t: tf.cast(t, dtype) if t.dtype.is_integer else t, tensors
    )


def _check_ragged(layer, tensors):
    flat = tf.reshape(tensors, [-1])
    size = int(tf.size(flat))
    ragged = tf.RaggedTensor.from_row_lengths(flat, [1, 0, size - 1])
    expected = layer(flat)
    for run in (layer, tf.function(layer)):
        output = run(ragged)
        assert isinstance(output, tf.RaggedTensor), "the output is not ragged"
        assert_identical(output.row_splits, ragged.row_splits)
        assert_allclose(output.flat_values, expected, message="ragged inputs")


def _check_mixed_precision(layer, tensors):
    mixed = copy_layer(layer, tensors, dtype="mixed_float16")
    for weight, other in zip(mixed.weights, layer.weights, strict=True):
        assert weight.dtype == other.dtype, "a weight changed its dtype"
    outputs = tf.nest.flatten(mixed(tensors))
    references = tf.nest.flatten(layer(tensors))
    for output, reference in zip(outputs, references, strict=True):
        if not reference.dtype.is_floating:
            continue
        assert output.dtype == tf.float16, f"{output.dtype} under mixed_float16"
        scale = max(1e-6, float(tf.reduce_max(tf.abs(reference))))
        error = tf.abs(tf.cast(output, tf.float32) - reference) / scale
        assert float(tf.reduce_max(error)) < 1e-2, "float16 strays from float32"


def _check_functional_model(layer, tensors, folder):
    symbolic = tf.nest.map_structure(
        lambda t: tf.keras.Input(t.shape[1:], dtype=t.dtype.name), tensors
    )
    twin = type(layer).from_config(layer.get_config())
    model = tf.keras.Model(symbolic, twin(symbolic))
    model.set_weights(layer.get_weights())
    expected = model(tensors)
    assert_allclose(expected, layer(tensors), message="in a functional model")
    path = str(folder / "model.keras")
    model.save(path)
    loaded = tf.keras.models.load_model(path)
    assert_identical(loaded(tensors), expected, message="after .keras")
    assert_identical(loaded.get_weights(), model.get_weights())


def _check_subclassed_model(layer, tensors, folder):
    path = str(folder / "model.weights.h5")
    model = ScoredModel(copy_layer(layer, tensors))
    expected = model(tensors)
    model.save_weights(path)
    loaded = ScoredModel(type(layer).from_config(layer.get_config()))
    loaded(tensors)
    loaded.load_weights(path)
    assert_identical(loaded(tensors), expected, message="after .weights.h5")


def _check_saved_model(layer, tensors, folder):
    path = str(folder / "saved_model")
    specs = tf.nest.map_structure(
        lambda t: tf.TensorSpec((None, *t.shape[1:]), t.dtype), tensors
    )
    module = tf.Module()
    module.state = [raw_variable(variable) for variable in layer.variables]
    module.serve = tf.function(lambda x: layer(x), input_signature=[specs])
    tf.saved_model.save(module, path)
    restored = tf.saved_model.load(path)
    served = restored.serve(tensors)
    assert_allclose(served, layer(tensors), message="after SavedModel")

    reader = tf.train.load_checkpoint(f"{path}/variables/variables")
    dtypes = reader.get_variable_to_dtype_map()
    stored = sum(
        int(np.prod(shape)) * dtypes[name].size
        for name, shape in reader.get_variable_to_shape_map().items()
        if name != "_CHECKPOINTABLE_OBJECT_GRAPH"
    )
    counted = sum(v.shape.num_elements() * v.dtype.size for v in module.state)
    assert stored == counted, f"{stored} bytes stored, {counted} counted"


def _check_gradients(layer, tensors):
    twin = copy_layer(layer, tensors)
    arguments = inspect.signature(twin.call).parameters
    training = {"training": True} if "training" in arguments else {}
    variables = [raw_variable(v) for v in twin.trainable_weights]
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(_score(twin(tensors, **training)))
        loss += sum(twin.losses)
    gradients = tape.gradient(loss, variables)
    for variable, gradient in zip(variables, gradients, strict=True):
        assert gradient is not None, f"no gradient reaches {variable.name}"
        gradient = tf.convert_to_tensor(gradient)
        assert np.isfinite(gradient).all(), f"gradient of {variable.name}"


def _check_fit(layer, tensors, jit_compile):
    model = ScoredModel(copy_layer(layer, tensors))
    loss = _fit_one_step(model, tensors, jit_compile)
    assert np.isfinite(loss), f"loss {loss}, jit_compile={jit_compile}"
    for weight in model.layer.get_weights():
        assert np.isfinite(weight).all(), "a weight is not finite after fit"


def _check_mirrored_fit(layer, tensors):
    strategy = mirrored_strategy()
    with strategy.scope():
        model = ScoredModel(copy_layer(layer, tensors))
        # As many rows for the one replica as for the other, but not the same.
        doubled = tf.nest.map_structure(
            lambda t: tf.concat([t, tf.repeat(t[:1], len(t), axis=0)], axis=0),
            tensors,
        )
        loss = _fit_one_step(model, doubled, jit_compile=False)
    assert np.isfinite(loss), f"loss {loss} under MirroredStrategy"
    for weight in model.layer.weights:
        replicas = strategy.experimental_local_results(raw_variable(weight))
        for replica in replicas[1:]:
            message = f"the replicas of {weight.name} drifted apart"
            assert_identical(replica, replicas[0], message=message)


def _fit_one_step(model, tensors, jit_compile):
    model.compile(
        optimizer="sgd",
        loss=lambda targets, scores: tf.reduce_mean(scores, axis=-1),
        jit_compile=jit_compile,
    )
    arrays = tf.nest.map_structure(lambda tensor: tensor.numpy(), tensors)
    rows = len(tf.nest.flatten(arrays)[0])
    history = model.fit(
        arrays,
        np.zeros((rows, 1), "float32"),
        batch_size=rows,
        shuffle=False,
        verbose=0,
    )
    return history.history["loss"][0]


def _score(outputs):
    """Reduces a structure of outputs to one positive number an example."""
    scores = []
    for output in tf.nest.flatten(outputs):
        square = tf.square(tf.cast(output, tf.float32))
        scores.append(tf.reduce_mean(square, axis=range(1, len(square.shape))))
    return tf.add_n(scores)[:, tf.newaxis]


class ScoredModel(tf.keras.Model):
    """A subclassed model: a layer and a head that always has weights."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer
        self.head = tf.keras.layers.Dense(1, kernel_initializer="ones")

    # Without a `training` argument here, Keras 3 would run the layer in
    # inference mode during `fit`.
    def call(self, inputs, training=None):
        return self.head(_score(self.layer(inputs)))
