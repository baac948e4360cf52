"""The embedding tables of a model, one a feature or shared."""

from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from mec_tf.layers.columns import columns_apart
from mec_tf.layers.nesting import build_inner, serialize_unbuilt
from mec_tf.layers.variables import KERAS_3


@tf.keras.utils.register_keras_serializable("mec_tf")
class FieldEmbeddings(tf.keras.layers.Layer):
    """Looks up every feature of a batch in its table.

    The tables are items of the dict `tables`; replace an item before the
    layer is built, and the replacement is trained and saved like any other.

    Args:
        tables: `{table name: embedding layer}`; any layer from ids to
            vectors will do.
        fields: `{feature: table name}`. Default: a feature for each table,
            of the same name.
        **kwargs: of `tf.keras.layers.Layer`.

    Input shape: a dict of integer ids `{feature: [batch, ...]}`. Features
        that are not in `fields` are ignored.
    Output shape: a dict `{feature: [batch, ..., width]}` in the tables'
        dtypes, in the order of `fields`.

    Raises:
        ValueError: if there is no feature, `fields` names an unknown table, a
            table serves no feature, or an input lacks a feature.

    Example:
        >>> tables = {"item": TableEmbedding(100, 8)}
        >>> fields = {"clicked_item": "item", "item": "item"}
        >>> layer = FieldEmbeddings(tables, fields)
        >>> ids = tf.constant([1, 2])
        >>> layer({"clicked_item": ids, "item": ids})["item"].shape
        TensorShape([2, 8])
    """

    def __init__(
        self,
        tables: Mapping[str, tf.keras.layers.Layer],
        fields: Mapping[str, str] | None = None,
        **kwargs: Any,
    ):
        if fields is None:
            fields = {name: name for name in tables}
        if not fields or set(fields.values()) != set(tables):
            raise ValueError(
                "`fields` must name a feature for every table, and only "
                f"tables that exist. Received: fields={dict(fields)}, "
                f"tables={sorted(tables)}"
            )
        # Keras would cast float ids to float16 in mixed precision.
        super().__init__(autocast=False, **kwargs)
        self.tables = dict(tables)
        self.fields = dict(fields)

    def build(self, input_shape: Any = None) -> None:
        if KERAS_3:
            # Keras 3 keeps layers in the order in which they came; a replaced
            # table would be last, and first again after loading.
            tables = dict(self.tables)
            self.tables.clear()
            self.tables.update(tables)
        # Some feature's shape will do: a table sees ids of any shape.
        shapes = dict.fromkeys(self.tables, (None,))
        if input_shape:
            shapes.update({t: input_shape[f] for f, t in self.fields.items()})
        for name, table in self.tables.items():
            build_inner(table, shapes[name])
        self.built = True

    def call(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        check_features(inputs, self.fields)
        return {
            feature: self.tables[table](inputs[feature])
            for feature, table in self.fields.items()
        }

    def stacked(
        self,
        inputs: Mapping[str, Any],
        features: Sequence[str],
        dtype: str | tf.DType,
        apart: int = 0,
    ) -> tuple[tuple[tf.Tensor, ...], dict[str, Any]]:
        """Vectors of some features side by side, and those of the others.

        Args:
            inputs: as of `call`.
            features: features of one shape and width.
            dtype: of the vectors.
            apart: how many of the last columns to give apart. Default 0.

        Returns:
            `([batch, ..., features, width],)`, or with `apart` `([batch, ...,
            features, width - apart], [batch, ..., features, apart])`; and
            `{feature: [batch, ..., width]}`.
        """
        vectors = {n: tf.cast(v, dtype) for n, v in self(inputs).items()}
        side = tf.stack([vectors.pop(name) for name in features], axis=-2)
        return columns_apart(side, apart), vectors

    def compute_output_shape(self, input_shape: Any) -> dict[str, Any]:
        return {
            feature: self.tables[table].compute_output_shape(
                input_shape[feature]
            )
            for feature, table in self.fields.items()
        }

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        config.update(
            tables={n: serialize_unbuilt(t) for n, t in self.tables.items()},
            fields=dict(self.fields),
        )
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "FieldEmbeddings":
        tables = {
            name: tf.keras.layers.deserialize(table)
            for name, table in config["tables"].items()
        }
        return cls(**{**config, "tables": tables})


def check_features(inputs: Mapping[str, Any], expected: Any) -> None:
    """Raises ValueError if `inputs` lacks an expected feature."""
    missing = [name for name in expected if name not in inputs]
    if missing:
        raise ValueError(
            f"`inputs` must hold the features {list(expected)}. "
            f"Missing: {missing}. Received: {sorted(inputs)}"
        )
