"""What every ranking model of this package shares."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tensorflow as tf

from mec_tf.layers.columns import columns_apart
from mec_tf.layers.dense_stack import DenseStack
from mec_tf.layers.field_embeddings import FieldEmbeddings, check_features
from mec_tf.layers.fused_field_embeddings import FusedFieldEmbeddings
from mec_tf.layers.masked_pooling import masked_pooling
from mec_tf.layers.mlp import MLP
from mec_tf.layers.nesting import build_inner, serialize_unbuilt
from mec_tf.layers.numeric_features import NumericFeatures
from mec_tf.layers.table_embedding import TableEmbedding
from mec_tf.models.checks import (
    check_fields,
    check_fused,
    check_sequences,
    check_shared,
)

# Small rows quantize well: measured.
EMBEDDING_SCALE = 0.005

EmbeddingLayer = (
    Callable[[str, int, int, int], tf.keras.layers.Layer]
    | Mapping[str, tf.keras.layers.Layer]
    | FusedFieldEmbeddings
    | None
)


class RankingModel(tf.keras.Model):
    """Base of the models: a dict of features in, logits out.

    A subclass writes `build`, of its own layers and then `super().build`, and
    `logits`, and makes its towers by `make_tower`. A model is saved with the
    tables, and with the layers of towers and cross networks, that it holds at
    that time, so that it loads again after they were replaced.

    Args:
        categorical: `{feature: rows of its vocabulary}`, at least one,
            sequences included.
        numeric: `{feature: (mean, std)}` of the signed logarithm of its
            values in the training data. Default: none.
        embedding_dim: int, width `D` of a feature's vector. Default 40.
        hidden_units: widths of the tower. Default (300, 300, 300).
        dropout: share of the tower's units dropped, in [0, 1). Default 0.
        embedding_l2: float, weight of the squared norm of the vectors that
            a training example looks up, averaged over the batch. A sequence
            enters with the mean over its ids, padding left out. Default 0.
        embedding_layer: what to hold as tables instead of `TableEmbedding`:
            a callable `(feature, input_dim, output_dim, additive_dim) ->
            layer`, or a dict `{feature: layer}` for some of the features.
            The last `additive_dim` of the `output_dim` columns are
            first-order weights. `fuse` gives a `FusedFieldEmbeddings`.
        shared_tables: `{feature: other feature whose table it uses}`.
            Default: each feature has its own.
        sequences: `{categorical feature: another, its target}`: features
            whose input is a row of ids, such as the items that a user
            touched. They use their target's table. Here their vectors are
            averaged to one; `DIN` weighs them. Default: none.
        embeddings_initializer: Keras initializer of the default tables.
            Default: uniform in ±0.005.
        tower_layers: `{tower or cross network: its dense_layers}`,
            serialized: what to hold there instead of plain dense layers.
            Default: none.
        **kwargs: of `tf.keras.Model`: `name`, `dtype`, `trainable`.

    Input shape: a dict of `{feature: [batch]}` or `[batch, 1]`: integer ids
        for the categorical features, raw numbers, NaN where missing, for the
        numeric ones. A sequence is `[batch, length]`, where ids of 0 and
        below are padding. Other keys are ignored.
    Output shape: float32 logits `[batch, 1]`.

    Raises:
        ValueError: if an argument is out of its range, or the features of
            an input are not complete.
    """

    # Read by `compress`: the configuration holds the table layers.
    config_holds_tables = True
    # 1 where a first-order weight is in the last column of each table. The
    # features' weights are added to the logits.
    additive_dim = 0

    def __init__(
        self,
        categorical: Mapping[str, int],
        numeric: Mapping[str, tuple[float, float]] | None = None,
        *,
        embedding_dim: int = 40,
        hidden_units: Sequence[int] = (300, 300, 300),
        dropout: float = 0.0,
        embedding_l2: float = 0.0,
        embedding_layer: EmbeddingLayer = None,
        shared_tables: Mapping[str, str] | None = None,
        sequences: Mapping[str, str] | None = None,
        embeddings_initializer: Any = None,
        tower_layers: Mapping[str, Sequence[Any]] | None = None,
        **kwargs: Any,
    ):
        numeric, shared_tables = dict(numeric or {}), dict(shared_tables or {})
        check_fields(categorical, numeric)
        sequences = dict(sequences or {})
        check_sequences(sequences, categorical, shared_tables)
        owners = {
            **shared_tables,
            **{s: shared_tables.get(t, t) for s, t in sequences.items()},
        }
        check_shared(owners, categorical)
        if int(embedding_dim) != embedding_dim or embedding_dim < 1:
            raise ValueError(
                "`embedding_dim` must be a positive integer. "
                f"Received: embedding_dim={embedding_dim!r}"
            )
        if not embedding_l2 >= 0:
            raise ValueError(
                "`embedding_l2` must be at least 0. "
                f"Received: embedding_l2={embedding_l2}"
            )
        # Keras would cast raw numbers to float16 in mixed precision.
        super().__init__(autocast=False, **kwargs)
        self.categorical = dict(categorical)
        self.numeric = numeric
        self.embedding_dim = int(embedding_dim)
        self.hidden_units = tuple(hidden_units)
        self.dropout = dropout
        self.embedding_l2 = embedding_l2
        self.shared_tables = shared_tables
        self.sequences = sequences
        if embeddings_initializer is None:
            embeddings_initializer = tf.keras.initializers.RandomUniform(
                -EMBEDDING_SCALE, EMBEDDING_SCALE
            )
        self.embeddings_initializer = tf.keras.initializers.get(
            embeddings_initializer
        )
        self.inner_dtype = kwargs.get("dtype")
        self.tower_layers = dict(tower_layers or {})
        fields = {name: owners.get(name, name) for name in categorical}
        self.field_embeddings: FieldEmbeddings | FusedFieldEmbeddings
        if isinstance(embedding_layer, FusedFieldEmbeddings):
            check_fused(embedding_layer, fields)
            self.field_embeddings = embedding_layer
        else:
            self.field_embeddings = FieldEmbeddings(
                self._make_tables(embedding_layer, fields),
                fields,
                name="field_embeddings",
                dtype=self.inner_dtype,
            )
        self.numeric_features = None
        if numeric:
            means, stds = zip(*numeric.values(), strict=True)
            self.numeric_features = NumericFeatures(
                means, stds, name="numeric_features", dtype=self.inner_dtype
            )

    @classmethod
    def from_log(cls, log: Any, **kwargs: Any) -> "RankingModel":
        """A model of the features of a `mec_tf.data.Log`.

        Args:
            log: has `vocabularies[feature].size`,
                `numeric[feature].mean` and `.std`, and `schema.sequences`.
            **kwargs: the constructor's other arguments.
        """
        sizes = {name: v.size for name, v in log.vocabularies.items()}
        numeric = {name: (s.mean, s.std) for name, s in log.numeric.items()}
        sequences = log.schema.sequences
        return cls(sizes, numeric, **{"sequences": sequences, **kwargs})

    def make_tower(self, units: Sequence[int], name: str = "tower") -> MLP:
        """A tower of these widths, for the attribute of that name."""
        return MLP(
            units,
            dropout=self.dropout,
            dense_layers=self.tower_layers.get(name),
            name=name,
            dtype=self.inner_dtype,
        )

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the inputs: categorical, then numeric."""
        return (*self.categorical, *self.numeric)

    @property
    def flat_dim(self) -> int:
        """Width of a row's vectors and numbers side by side."""
        vectors = len(self.categorical) * self.embedding_dim
        return vectors + len(self.numeric)

    def build(self, input_shape: Any = None) -> None:
        build_inner(self.field_embeddings)
        if self.numeric_features is not None:
            build_inner(self.numeric_features, (None, len(self.numeric)))
        self.built = True

    def call(
        self, inputs: Mapping[str, Any], training: bool = False
    ) -> tf.Tensor:
        check_features(inputs, self.feature_names)
        vectors, *first_order = self._vectors(inputs, training)
        numbers = None
        if self.numeric_features is not None:
            columns = [
                tf.reshape(tf.cast(inputs[name], tf.float32), [-1])
                for name in self.numeric
            ]
            numbers = self.numeric_features(tf.stack(columns, axis=1))
        logits = self.logits(vectors, numbers, training)
        for weights in first_order:
            logits += tf.reduce_sum(tf.cast(weights, tf.float32), axis=1)
        return logits

    def _vectors(
        self, inputs: Mapping[str, Any], training: bool
    ) -> tuple[tf.Tensor, ...]:
        """One vector a feature: `[batch, fields, embedding_dim]`.

        And where the model has first-order weights, `[batch, fields, 1]`.
        """
        plain = [n for n in self.categorical if n not in self.sequences]
        ids = {name: tf.reshape(inputs[name], [-1]) for name in plain}
        masks = {}
        for name, target in self.sequences.items():
            ids[name], masks[name] = _mask_padding(
                name, inputs[name], ids[target]
            )
        # A sequence is pooled with its weights.
        apart = 0 if masks else self.additive_dim
        parts, sequences = self.field_embeddings.stacked(
            ids, plain, self.compute_dtype, apart
        )
        if training and self.embedding_l2:
            norms = tf.add_n(
                [tf.reduce_sum(_square_norms(p), axis=1) for p in parts]
            )
            for name, mask in masks.items():
                norms += masked_pooling(_square_norms(sequences[name]), mask)
            self.add_loss(self.embedding_l2 * tf.reduce_mean(norms))
        if not masks:
            return parts
        (vectors,) = parts
        pooled = [
            self.pool(
                name, sequences[name], mask, vectors[:, plain.index(target)]
            )
            for (name, target), mask in zip(
                self.sequences.items(), masks.values(), strict=True
            )
        ]
        vectors = tf.concat([vectors, tf.stack(pooled, axis=1)], axis=1)
        return columns_apart(vectors, self.additive_dim)

    def pool(
        self, name: str, vectors: tf.Tensor, mask: tf.Tensor, target: tf.Tensor
    ) -> tf.Tensor:
        """One vector of a sequence, `[batch, width]`; here the mean.

        Args:
            name: the sequence feature.
            vectors: `[batch, length, width]`.
            mask: bool `[batch, length]`, False at padding.
            target: the target's vector, `[batch, width]`.
        """
        return masked_pooling(vectors, mask)

    def logits(
        self, vectors: tf.Tensor, numbers: tf.Tensor | None, training: bool
    ) -> tf.Tensor:
        """Logits, float32 `[batch, 1]`, but for the first-order weights.

        Args:
            vectors: `[batch, fields, embedding_dim]`, a field for each
                categorical feature, sequences last.
            numbers: standardized numeric features `[batch, n]`, or None.
            training: whether to drop units.
        """
        raise NotImplementedError

    def flatten(
        self, vectors: tf.Tensor, numbers: tf.Tensor | None
    ) -> tf.Tensor:
        """Vectors and numbers side by side: `[batch, flat_dim]`."""
        width = len(self.categorical) * self.embedding_dim
        flat = tf.reshape(vectors, [-1, width])
        return flat if numbers is None else tf.concat([flat, numbers], axis=1)

    def _make_tables(self, embedding_layer, fields):
        plugged = {} if callable(embedding_layer) else embedding_layer or {}
        unknown = sorted(set(plugged) - set(fields.values()))
        if unknown:
            raise ValueError(
                "`embedding_layer` must name features that have a table of "
                f"their own. Received: {unknown}"
            )
        make = embedding_layer if callable(embedding_layer) else self._table
        width = self.embedding_dim + self.additive_dim
        tables = {}
        for name in dict.fromkeys(fields.values()):
            layer = plugged.get(name)
            if layer is None:
                rows = self.categorical[name]
                layer = make(name, rows, width, self.additive_dim)
            if getattr(layer, "output_dim", width) != width:
                raise ValueError(
                    f"`embedding_layer` must give {name!r} a layer with "
                    f"output_dim={width} (of which {self.additive_dim} "
                    f"first-order). Received: output_dim={layer.output_dim}"
                )
            tables[name] = layer
        return tables

    def _table(self, name, input_dim, output_dim, additive_dim):
        # A Keras initializer gives the same values at every call: each table
        # needs its own.
        initializer = tf.keras.initializers.serialize(
            self.embeddings_initializer
        )
        return TableEmbedding(
            input_dim,
            output_dim,
            additive_dim=additive_dim,
            embeddings_initializer=initializer,
            name=re.sub("[^A-Za-z0-9]+", "_", f"table_{name}"),
            dtype=self.inner_dtype,
        )

    def get_build_config(self) -> dict[str, Any]:
        return {"input_shape": None}

    def build_from_config(self, config: dict[str, Any]) -> None:
        self.build()

    def get_config(self) -> dict[str, Any]:
        # Keras 2's `Model.get_config` leaves the layer's part out.
        config = tf.keras.layers.Layer.get_config(self)
        tables = self.field_embeddings
        if isinstance(tables, FusedFieldEmbeddings):
            saved = serialize_unbuilt(tables)
        else:
            saved = {n: serialize_unbuilt(t) for n, t in tables.tables.items()}
        towers = {
            name: layer.get_config()["dense_layers"]
            for name, layer in vars(self).items()
            if isinstance(layer, DenseStack)
        }
        config.update(
            categorical=dict(self.categorical),
            numeric={name: list(pair) for name, pair in self.numeric.items()},
            embedding_dim=self.embedding_dim,
            hidden_units=list(self.hidden_units),
            dropout=self.dropout,
            embedding_l2=self.embedding_l2,
            embedding_layer=saved,
            shared_tables=dict(self.shared_tables),
            sequences=dict(self.sequences),
            embeddings_initializer=tf.keras.initializers.serialize(
                self.embeddings_initializer
            ),
            tower_layers={n: held for n, held in towers.items() if any(held)},
        )
        return config

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: Any = None
    ) -> "RankingModel":
        with tf.keras.utils.custom_object_scope(custom_objects or {}):
            saved, make = config["embedding_layer"], tf.keras.layers.deserialize
            # A feature may have any name, but its table is no string.
            if isinstance(saved.get("class_name"), str):
                tables = make(saved)
            else:
                tables = {name: make(table) for name, table in saved.items()}
            return cls(**{**config, "embedding_layer": tables})


def _mask_padding(name, ids, target_ids):
    """The ids `[batch, length]`, and which of them are not padding.

    In place of padding the target's row is looked up. Row 0 would swamp what
    tables learn from their lookups: popularity, codebooks by moving averages.
    """
    ids = tf.convert_to_tensor(ids)
    if len(ids.shape) != 2:
        raise ValueError(
            f"`inputs` must hold ids [batch, length] at {name!r}. Received "
            f"shape {tuple(ids.shape)}"
        )
    mask = ids > 0
    return tf.where(mask, ids, tf.cast(target_ids[:, None], ids.dtype)), mask


def _square_norms(vectors):
    """Squared lengths, float32 `[batch, n, 1]`, of `[batch, n, width]`."""
    squares = tf.square(tf.cast(vectors, tf.float32))
    return tf.reduce_sum(squares, axis=-1, keepdims=True)
