"""What a traced graph is for."""

import tensorflow as tf


def traced_for_xla() -> bool:
    """Whether a graph is being traced that XLA will compile."""
    if tf.executing_eagerly():
        return False
    graph = tf.compat.v1.get_default_graph()
    while graph is not None:
        if getattr(graph, "_xla_compile", False):
            return True
        context = getattr(graph, "_get_control_flow_context", lambda: None)()
        while context is not None:
            if context.IsXLAContext():
                return True
            context = context.outer_context
        graph = getattr(graph, "outer_graph", None)
    return False
