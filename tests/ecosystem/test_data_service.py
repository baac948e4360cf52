"""A log's batches, as a graph that tf.data service runs elsewhere."""

import numpy as np
import pytest
import tensorflow as tf

from mec_tf.data import Log, Schema
from mec_tf.layers import ProductQuantizedEmbedding
from mec_tf.optimizers import LazyAdam

service = tf.data.experimental.service
ROWS = 40
# What a worker on another machine has no Python for.
FOREIGN = {"PyFunc", "PyFuncStateless", "EagerPyFunc"}


@pytest.fixture
def log():
    rng = np.random.default_rng(0)
    users = rng.integers(0, ROWS, 1000)
    columns = {
        "user": users,
        "age": rng.normal(size=1000),
        "click": rng.normal(size=ROWS)[users] > 0,
    }
    schema = Schema("click", ("user",), ("age",))
    split = rng.choice(3, 1000, p=[0.8, 0.1, 0.1])
    return Log.from_columns("clicks", schema, columns, split)


@pytest.fixture
def dispatcher():
    """A dispatcher and a worker on this machine."""
    server = service.DispatchServer()
    address = server.target.split("://")[1]
    worker = service.WorkerServer(
        service.WorkerConfig(dispatcher_address=address)
    )
    yield server.target
    worker._stop()
    server._stop()


def ops(dataset):
    serialized = dataset._as_serialized_graph().numpy()
    graph = tf.compat.v1.GraphDef.FromString(serialized)
    nodes = list(graph.node)
    for function in graph.library.function:
        nodes += function.node_def
    return {node.op for node in nodes}


def test_saved_batches_are_trained_on_from_a_service(log, dispatcher, tmp_path):
    batches = log.dataset("train", 100)
    assert ops(batches) & FOREIGN, "save is not needed any more: say so"
    batches.save(str(tmp_path / "train"))
    train = tf.data.Dataset.load(str(tmp_path / "train"))
    assert not ops(train) & FOREIGN
    assert train.element_spec == batches.element_spec

    served = train.shuffle(8, seed=0).apply(
        service.distribute(service.ShardingPolicy.OFF, dispatcher)
    )
    direct = np.concatenate([x["user"] for x, _ in batches])
    received = np.concatenate([x["user"] for x, _ in served])
    np.testing.assert_array_equal(np.sort(received), np.sort(direct))

    rows = log.vocabularies["user"].size
    user = tf.keras.Input((), dtype="int32", name="user")
    vectors = ProductQuantizedEmbedding(rows, 4, 2, 8)(user)
    model = tf.keras.Model(
        {"user": user}, tf.keras.layers.Dense(1, "sigmoid")(vectors)
    )
    model.compile(LazyAdam(0.05), "binary_crossentropy")
    clicks = served.map(lambda x, y: ({"user": x["user"]}, y))
    # The service does not tell how many batches it will send.
    clicks = clicks.apply(tf.data.experimental.assert_cardinality(len(batches)))
    losses = model.fit(clicks, epochs=6, shuffle=False, verbose=0).history[
        "loss"
    ]
    assert losses[-1] < 0.6 * losses[0], losses
