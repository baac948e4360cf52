"""The embedding tables of a model, those of one layout looked up at once."""

from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from mec_tf.layers import ids as id_rules
from mec_tf.layers.field_embeddings import FieldEmbeddings, check_features
from mec_tf.layers.fused_code_lookup_embedding import (
    FusedCodeLookupEmbedding,
)
from mec_tf.layers.fused_table_embedding import FusedTableEmbedding
from mec_tf.layers.fused_tables import FusedTables
from mec_tf.layers.nesting import build_inner, serialize_unbuilt

KINDS: dict[str, type[FusedTables]] = {
    "codes": FusedCodeLookupEmbedding,
    "rows": FusedTableEmbedding,
}


@tf.keras.utils.register_keras_serializable("mec_tf")
class FusedFieldEmbeddings(tf.keras.layers.Layer):
    """`FieldEmbeddings` for inference, of fewer and larger lookups.

    Tables of one layout (`CodeLookupEmbedding`s alike but for their rows,
    `TableEmbedding`s of one width) stand in one variable each for rows and
    codebooks, and are looked up by one gather each. Answers equal those of
    the separate tables bit for bit, and take as many bytes. Other tables
    (rotated or masked ones, those still in training) stay single. Made from a
    built layer, by `from_fields`.

    Args:
        fields: `{feature: table name}`.
        groups: `{name: fused tables}`; a table's name is in one group.
        tables: `{table name: embedding layer}`, those that are single.
            Default: none.
        **kwargs: of `tf.keras.layers.Layer`.

    Input shape: a dict of integer ids `{feature: [batch, ...]}`. Features
        whose shapes are known to be alike are looked up together; those of
        unknown batch size are taken to have the same one.
    Output shape: a dict `{feature: [batch, ..., width]}`, in the order of
        `fields`.

    Raises:
        ValueError: if the fields do not fit the tables, or an input lacks a
            feature.

    Example:
        >>> tables = {"a": TableEmbedding(9, 4), "b": TableEmbedding(7, 4)}
        >>> layer = FieldEmbeddings(tables)
        >>> ids = {"a": tf.constant([8]), "b": tf.constant([6])}
        >>> same = FusedFieldEmbeddings.from_fields(layer)(ids)["a"]
    """

    def __init__(
        self,
        fields: Mapping[str, str],
        groups: Mapping[str, FusedTables],
        tables: Mapping[str, tf.keras.layers.Layer] | None = None,
        **kwargs: Any,
    ):
        tables = dict(tables or {})
        owners = {n: key for key, group in groups.items() for n in group.names}
        count = sum(len(group.names) for group in groups.values())
        known = {*owners, *tables}
        if set(fields.values()) != known or len(known) < count + len(tables):
            raise ValueError(
                "`fields` must name a feature for every table of `groups` and "
                "`tables`, and only those. Received: "
                f"fields={dict(fields)}, tables={[*owners, *tables]}"
            )
        # Keras would cast float ids to float16 in mixed precision.
        super().__init__(autocast=False, **kwargs)
        self.fields = dict(fields)
        self.groups = dict(groups)
        self.tables = tables
        self._owners = owners

    @classmethod
    def from_fields(cls, layer: FieldEmbeddings) -> "FusedFieldEmbeddings":
        """A built layer of copies, which answers as a built one."""
        alike: dict[tuple[Any, ...], dict[str, Any]] = {}
        for name, table in layer.tables.items():
            for kind, group in KINDS.items():
                layout = group.layout(table)
                if layout is not None:
                    policy = table.dtype_policy.name
                    checks = table.oov == id_rules.OOV_ERROR
                    key = (kind, policy, checks, *layout.values())
                    alike.setdefault(key, {})[name] = table
        groups: dict[str, FusedTables] = {}
        for (kind, policy, *_), tables in alike.items():
            if len(tables) > 1:
                group_name = f"{kind}_{len(groups)}"
                groups[group_name] = KINDS[kind].from_layers(
                    tables, name=f"fused_{group_name}", dtype=policy
                )
        fused = {name for group in groups.values() for name in group.names}
        singles = {n: t for n, t in layer.tables.items() if n not in fused}
        made = cls(
            layer.fields,
            groups,
            {
                n: type(t).from_config(t.get_config())
                for n, t in singles.items()
            },
            name=layer.name,
            dtype=layer.dtype_policy.name,
        )
        build_inner(made)
        for name, table in singles.items():
            made.tables[name].set_weights(table.get_weights())
        return made

    def build(self, input_shape: Any = None) -> None:
        for group in self.groups.values():
            build_inner(group)
        # Some feature's shape will do: a table sees ids of any shape.
        shapes = dict.fromkeys(self.tables, (None,))
        if input_shape:
            shapes.update({t: input_shape[f] for f, t in self.fields.items()})
        for name, table in self.tables.items():
            build_inner(table, shapes[name])
        self.built = True

    def call(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        check_features(inputs, self.fields)
        return self._look_up(inputs, list(self.fields))

    def stacked(
        self,
        inputs: Mapping[str, Any],
        features: Sequence[str],
        dtype: str | tf.DType,
    ) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """As `FieldEmbeddings.stacked`."""
        check_features(inputs, self.fields)
        batches = self._batches(inputs, features)
        others = [name for name in self.fields if name not in features]
        vectors = self._look_up(inputs, others)
        (key, *_), batch = next(iter(batches.items()))
        if len(batches) == 1 and key in self.groups:
            side = tf.cast(self._fused(key, inputs, batch), dtype)
        else:
            found = self._look_up(inputs, features)
            rows = [tf.cast(found[name], dtype) for name in features]
            side = tf.stack(rows, axis=-2)
        return side, {n: tf.cast(v, dtype) for n, v in vectors.items()}

    def _look_up(
        self, inputs: Mapping[str, Any], features: Sequence[str]
    ) -> dict[str, Any]:
        found = {}
        for (key, *_), batch in self._batches(inputs, features).items():
            if key not in self.groups:
                table = self.tables[self.fields[batch[0]]]
                found[batch[0]] = table(inputs[batch[0]])
            elif isinstance(inputs[batch[0]], tf.RaggedTensor):
                found[batch[0]] = tf.ragged.map_flat_values(
                    lambda flat, key=key, batch=batch: self._fused(
                        key, {batch[0]: flat}, batch
                    )[..., 0, :],
                    inputs[batch[0]],
                )
            else:
                vectors = self._fused(key, inputs, batch)
                rows = tf.unstack(vectors, num=len(batch), axis=-2)
                found.update(zip(batch, rows, strict=True))
        return {name: found[name] for name in features}

    def _batches(
        self, inputs: Mapping[str, Any], features: Sequence[str]
    ) -> dict[tuple[Any, ...], list[str]]:
        """Features that one lookup serves, by (group, shape or feature)."""
        batches: dict[tuple[Any, ...], list[str]] = {}
        for name in features:
            group = self._owners.get(self.fields[name])
            shape = tf.TensorShape(inputs[name].shape)
            alone = (
                group is None
                or not shape.rank
                or None in shape[1:]
                or isinstance(inputs[name], tf.RaggedTensor)
            )
            key = (group, name) if alone else (group, *shape)
            batches.setdefault(key, []).append(name)
        return batches

    def _fused(
        self, key: str, inputs: Mapping[str, Any], features: Sequence[str]
    ) -> tf.Tensor:
        """Vectors `[..., features, width]` of one group's features."""
        names = [self.fields[name] for name in features]
        return self.groups[key].vectors(stack_ids(inputs, features), names)

    def compute_output_shape(self, input_shape: Any) -> dict[str, Any]:
        holders = {
            **{n: self.groups[key] for n, key in self._owners.items()},
            **self.tables,
        }
        return {
            feature: holders[table].compute_output_shape(input_shape[feature])
            for feature, table in self.fields.items()
        }

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        config.update(
            fields=dict(self.fields),
            groups={n: serialize_unbuilt(g) for n, g in self.groups.items()},
            tables={n: serialize_unbuilt(t) for n, t in self.tables.items()},
        )
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "FusedFieldEmbeddings":
        layers = {
            key: {
                name: tf.keras.layers.deserialize(layer)
                for name, layer in config[key].items()
            }
            for key in ("groups", "tables")
        }
        return cls(**{**config, **layers})


def stack_ids(inputs: Mapping[str, Any], features: Sequence[str]) -> tf.Tensor:
    """Ids `[..., features]` of features of one shape, in one dtype."""
    ids = [
        id_rules.to_integers(tf.convert_to_tensor(inputs[name]))
        for name in features
    ]
    if any(each.dtype == tf.int64 for each in ids):
        ids = [tf.cast(each, tf.int64) for each in ids]
    return tf.stack(ids, axis=-1)
