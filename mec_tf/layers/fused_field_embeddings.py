"""The embedding tables of a model, those of one layout looked up at once."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tensorflow as tf

from mec_tf.layers import ids as id_rules
from mec_tf.layers.columns import columns_apart
from mec_tf.layers.field_embeddings import FieldEmbeddings, check_features
from mec_tf.layers.fused_code_lookup_embedding import (
    FusedCodeLookupEmbedding,
)
from mec_tf.layers.fused_table_embedding import FusedTableEmbedding
from mec_tf.layers.fused_tables import FusedTables
from mec_tf.layers.fused_tiers import (
    FusedTiers,
    can_split,
    tier_names,
    whole_tiers,
)
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
    codebooks, and are looked up by one gather each; so do the tiers of
    `TieredEmbedding`s, each as a table. Answers equal those of the separate
    tables bit for bit, and take as many bytes. Other tables (rotated or
    masked ones, those still in training) stay single. Made from a built
    layer, by `from_fields`.

    Args:
        fields: `{feature: table name}`.
        groups: `{name: fused tables}`; a table's name is in one group.
        tables: `{table name: embedding layer}`, those that are single.
            Default: none.
        tiers: settings of tables whose tiers stand apart, as `FusedTiers`
            takes them; the tiers are named as tables. Default: none.
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
        tiers: Sequence[Mapping[str, Any]] = (),
        **kwargs: Any,
    ):
        tables = dict(tables or {})
        apart = {
            member: table["name"]
            for table in tiers
            for member in tier_names(table["name"], table["tier_rows"])
        }
        owners = {n: key for key, group in groups.items() for n in group.names}
        count = sum(len(group.names) for group in groups.values())
        held = {*owners, *tables}
        known = {apart.get(name, name) for name in held}
        complete = held >= set(apart) and len(held) == count + len(tables)
        if set(fields.values()) != known or not complete:
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
        self.tiers = None
        if tiers:
            width = next(iter([*groups.values(), *tables.values()])).output_dim
            self.tiers = FusedTiers(tiers, width)

    @classmethod
    def from_fields(cls, layer: FieldEmbeddings) -> "FusedFieldEmbeddings":
        """A built layer of copies, which answers as a built one."""
        alike: dict[tuple[Any, ...], dict[str, Any]] = {}
        parts, tiers = {}, []
        for name, table in layer.tables.items():
            parts[name] = table
            if can_split(table):
                del parts[name]
                tiers.append(FusedTiers.settings(name, table))
                whole = whole_tiers(table)
                parts.update(zip(tier_names(name, whole), whole, strict=True))
        for name, table in parts.items():
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
        for settings in list(tiers):
            apart = tier_names(settings["name"], settings["tier_rows"])
            if not fused.intersection(apart):  # the table may stay whole
                tiers.remove(settings)
                parts[settings["name"]] = layer.tables[settings["name"]]
                for name in apart:
                    del parts[name]
        singles = {n: t for n, t in parts.items() if n not in fused}
        made = cls(
            layer.fields,
            groups,
            {
                n: type(t).from_config(t.get_config())
                for n, t in singles.items()
            },
            tiers,
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
            given = {t: input_shape[f] for f, t in self.fields.items()}
            shapes.update({t: s for t, s in given.items() if t in shapes})
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
        apart: int = 0,
    ) -> tuple[tuple[tf.Tensor, ...], dict[str, tf.Tensor]]:
        """As `FieldEmbeddings.stacked`."""
        check_features(inputs, self.fields)
        tiered = [n for n in features if self._tier_names(n)]
        given = dict(inputs)
        if tiered:
            found = self._split(given, tiered)
        members = [m for n in features for m in self._tier_names(n) or [n]]
        found_parts, order = [], []
        for (key, *_), batch in self._batches(given, members).items():
            if key in self.groups:
                part = self._fused(key, given, batch, apart)
            else:
                table = self._table(batch[0])
                vectors = self.tables[table](given[batch[0]])[..., None, :]
                part = columns_apart(vectors, apart)
            found_parts.append([tf.cast(columns, dtype) for columns in part])
            order += batch
        places = None
        if tiered:
            places = self._places(features, tiered, order, *found)
        elif order != list(features):
            places = tf.constant([order.index(name) for name in features])
        side = tuple(
            _side_by_side(columns, places)
            for columns in zip(*found_parts, strict=True)
        )
        others = [name for name in self.fields if name not in features]
        rest = self._look_up(inputs, others)
        return side, {n: tf.cast(v, dtype) for n, v in rest.items()}

    def _table(self, feature: str) -> str:
        """The table of a feature, or the tier of a tier's feature."""
        if feature in self.fields:
            return self.fields[feature]
        name, _, place = feature.rpartition("/")
        return f"{self.fields[name]}/{place}"

    def _tier_names(self, feature: str) -> list[str]:
        """A feature for each tier of a tiered table; else none."""
        table = self.fields[feature]
        if self.tiers is None or table not in self.tiers.names:
            return []
        return tier_names(feature, self.tiers.members(table))

    def _split(
        self, inputs: dict[str, Any], features: Sequence[str]
    ) -> tuple[tf.Tensor, tf.Tensor | None]:
        """Adds the ids of tiers to the inputs; says which one counts."""
        assert self.tiers is not None
        tables = [self.fields[name] for name in features]
        parts, tier, valid = self.tiers.split(
            stack_ids(inputs, features), tables
        )
        for place, part in enumerate(parts):
            rows = tf.unstack(part, num=len(features), axis=-1)
            for name, own in zip(features, rows, strict=True):
                inputs[f"{name}/{place}"] = own
        return tier, valid

    def _places(
        self,
        features: Sequence[str],
        tiered: Sequence[str],
        order: Sequence[str],
        tier: tf.Tensor,
        valid: tf.Tensor | None,
    ) -> tf.Tensor:
        """Where each feature's vector is, `[..., n]`; a zero one is last."""
        at = {name: place for place, name in enumerate(order)}
        held = [[at[m] for m in self._tier_names(n)] for n in tiered]
        places = tf.zeros_like(tier)
        for step in range(max(map(len, held))):
            here = [own[min(step, len(own) - 1)] for own in held]
            chosen = tf.constant(here, tier.dtype)
            places = tf.where(tf.equal(tier, step), chosen, places)
        if valid is not None:
            places = tf.where(valid, places, len(order))
        plain = [name for name in features if name not in tiered]
        fixed = tf.constant([at[name] for name in plain], places.dtype)
        shape = tf.concat([tf.shape(places)[:-1], [len(plain)]], axis=0)
        joined = tf.concat([tf.broadcast_to(fixed, shape), places], axis=-1)
        sides = [*plain, *tiered]
        return tf.gather(joined, [sides.index(n) for n in features], axis=-1)

    def _tiered(self, feature: str, ids: Any) -> tf.Tensor:
        """Vectors of one feature of a tiered table."""
        inputs = {feature: ids}
        tier, valid = self._split(inputs, [feature])
        members = self._tier_names(feature)
        found = self._look_up({m: inputs[m] for m in members}, members)
        vectors = found[members[0]]
        for place, name in enumerate(members[1:], start=1):
            vectors = tf.where(tf.equal(tier, place), found[name], vectors)
        if valid is None:
            return vectors
        return id_rules.zero_out(vectors, valid[..., 0])

    def _look_up(
        self, inputs: Mapping[str, Any], features: Sequence[str]
    ) -> dict[str, Any]:
        found = {}
        for name in features:
            if name in self.fields and self._tier_names(name):
                look = functools.partial(self._tiered, name)
                found[name] = _on_flat_values(look, inputs[name])
        rest = [name for name in features if name not in found]
        for (key, *_), batch in self._batches(inputs, rest).items():
            if key not in self.groups:
                table = self.tables[self._table(batch[0])]
                found[batch[0]] = table(inputs[batch[0]])
            elif isinstance(inputs[batch[0]], tf.RaggedTensor):
                found[batch[0]] = tf.ragged.map_flat_values(
                    lambda flat, key=key, batch=batch: self._fused(
                        key, {batch[0]: flat}, batch
                    )[0][..., 0, :],
                    inputs[batch[0]],
                )
            else:
                (vectors,) = self._fused(key, inputs, batch)
                rows = tf.unstack(vectors, num=len(batch), axis=-2)
                found.update(zip(batch, rows, strict=True))
        return {name: found[name] for name in features}

    def _batches(
        self, inputs: Mapping[str, Any], features: Sequence[str]
    ) -> dict[tuple[Any, ...], list[str]]:
        """Features that one lookup serves, by (group, shape or feature)."""
        batches: dict[tuple[Any, ...], list[str]] = {}
        for name in features:
            group = self._owners.get(self._table(name))
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
        self,
        key: str,
        inputs: Mapping[str, Any],
        features: Sequence[str],
        apart: int = 0,
    ) -> tuple[tf.Tensor, ...]:
        """Vectors `[..., features, width]` of one group's features."""
        names = [self._table(name) for name in features]
        ids = stack_ids(inputs, features)
        return self.groups[key].vectors(ids, names, apart)

    def compute_output_shape(self, input_shape: Any) -> dict[str, Any]:
        holders = {
            **{n: self.groups[key] for n, key in self._owners.items()},
            **self.tables,
        }
        apart = self.tiers.names if self.tiers else ()
        return {
            feature: holders[
                f"{table}/0" if table in apart else table
            ].compute_output_shape(input_shape[feature])
            for feature, table in self.fields.items()
        }

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        config.update(
            fields=dict(self.fields),
            groups={n: serialize_unbuilt(g) for n, g in self.groups.items()},
            tables={n: serialize_unbuilt(t) for n, t in self.tables.items()},
            tiers=self.tiers.tables if self.tiers else [],
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


def _side_by_side(
    parts: Sequence[tf.Tensor], places: tf.Tensor | None
) -> tf.Tensor:
    """Vectors `[..., n, width]` joined on `n`, and picked from there.

    Args:
        parts: of one width.
        places: `[n]`, the same for all; or `[..., n]`, where that after the
            last one is of a zero vector. None picks all.
    """
    if places is None:
        return parts[0] if len(parts) == 1 else tf.concat(parts, axis=-2)
    rank = len(places.shape) - 1
    if not rank:
        return tf.gather(tf.concat(parts, axis=-2), places, axis=-2)
    nothing = tf.zeros_like(parts[0][..., :1, :])
    side = tf.concat([*parts, nothing], axis=-2)
    return tf.gather(side, places, axis=rank, batch_dims=rank)


def _on_flat_values(function: Callable[[Any], tf.Tensor], ids: Any) -> Any:
    if isinstance(ids, tf.RaggedTensor):
        return tf.ragged.map_flat_values(function, ids)
    return function(ids)


def stack_ids(inputs: Mapping[str, Any], features: Sequence[str]) -> tf.Tensor:
    """Ids `[..., features]` of features of one shape, in one dtype."""
    ids = [
        id_rules.to_integers(tf.convert_to_tensor(inputs[name]))
        for name in features
    ]
    if any(each.dtype == tf.int64 for each in ids):
        ids = [tf.cast(each, tf.int64) for each in ids]
    return tf.stack(ids, axis=-1)
