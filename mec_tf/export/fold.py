"""Ranking models whose first layers add up products made beforehand.

A first layer computes `concat(e_1 .. e_F, others) @ W`. Where a vector `e_f`
is made of codebook entries, its share of the product is a sum too: for each of
its codes a row of `codebook @ W_f`. An example then takes `M` rows a feature
out of a table of such products in place of `D` times the width of the layer
multiplications.
"""

import dataclasses
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from mec_tf.compression.carry_weights import carry_weights
from mec_tf.compression.fuse import FIELDS
from mec_tf.layers import FusedCodeLookupEmbedding, FusedFieldEmbeddings
from mec_tf.layers.dense_stack import DenseStack
from mec_tf.layers.fused_field_embeddings import stack_ids
from mec_tf.layers.variables import raw
from mec_tf.models import DIN, GDCN, PNN, DCNv2, DeepFM
from mec_tf.quantizers.tracing import traced_for_xla

# Whose input begins with the vectors of all features. Of a subclass that is
# not known.
FIRST_LAYERS: dict[type, tuple[str, ...]] = {
    DCNv2: ("cross", "tower"),
    DIN: ("tower",),
    DeepFM: ("tower",),
    GDCN: ("tower",),
    PNN: ("tower",),
}
# Products of larger codebooks take more than they give: no cache holds them.
MAX_CODEBOOK_SIZE = 1024
_DENSE = tf.keras.layers.Dense
WORTH = 1.05
_ROUNDS = 41


@dataclasses.dataclass(frozen=True)
class Folded:
    """A folded model, for inference.

    Args:
        model: it answers as the model that was folded, within rounding.
        products: `{path: float32 variable [1 + codebook entries, width]}`,
            what it needs beyond that model's variables. Row 0 is zero.
    """

    model: tf.keras.Model
    products: dict[str, tf.Variable]

    @property
    def bytes(self) -> dict[str, int]:
        """Bytes of each of the products."""
        return {
            path: int(np.prod(variable.shape)) * variable.dtype.size
            for path, variable in self.products.items()
        }


def fold(model: tf.keras.Model) -> Folded:
    """A copy of a fused model with its codebooks folded into first layers.

    The kernels stay: a product is looked up for requests of few examples and
    multiplied for larger ones, and under XLA.

    Args:
        model: as `mec_tf.fuse` makes it; stays as it is.

    Raises:
        ValueError: if nothing of the model can be folded.
    """
    fields: Any = getattr(model, FIELDS, None)
    layers = tuple(
        name
        for name in FIRST_LAYERS.get(type(model), ())
        if _starts_dense(getattr(model, name))
    )
    if not isinstance(fields, FusedFieldEmbeddings) or not layers:
        raise _cannot_fold(f"a {type(model).__name__} without these")
    if model.compute_dtype != "float32":
        raise _cannot_fold(f"a model that computes in {model.compute_dtype}")
    copy = type(model).from_config(model.get_config())
    copy.build(None)
    carry_weights(model, copy, set())
    request = _Request(copy)
    if not request.groups:
        raise _cannot_fold("a model without such tables")
    fields = copy.field_embeddings
    fields.__class__ = _FoldedFields
    object.__setattr__(fields, "request", request)
    products = {}
    for name in layers:
        layer = getattr(copy, name).dense_layers[0]
        layer.__class__ = _FoldedDense
        path = f"{name}/folded_products"
        products[path] = request.products(raw(layer.kernel).numpy(), path)
        multiply = _Multiply(request, products[path])
        # Keras refuses new attributes of a built layer.
        object.__setattr__(layer, "multiply", multiply)
    return Folded(copy, products)


def most_examples(columns: int, codes: int) -> int:
    """Examples up to which a request looks products up.

    Looking up takes the time of reading rows of products from memory, for
    each example anew; multiplying that of reading the kernel, once for a few
    examples. Measured, looking up is faster for at least half as many rows
    (`python -m benchmarks.folding`).

    Args:
        columns: rows of the kernel that products stand for.
        codes: rows of products that an example needs.
    """
    return max(1, columns // (2 * codes))


def faster(
    one: Callable[..., Any],
    other: Callable[..., Any],
    arguments: Mapping[str, tf.Tensor],
) -> bool:
    """Whether `other` takes less time than `one`, by 5% or more.

    Args:
        one: a concrete function.
        other: another.
        arguments: of both.
    """
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(_ROUNDS):  # in turn: other work slows both down alike
        for function, found in zip((one, other), times, strict=True):
            function(**arguments)
            started = time.perf_counter()
            function(**arguments)
            found.append(time.perf_counter() - started)
    before, after = map(statistics.median, times)
    return before >= WORTH * after


class _Request:
    """Which products the ids of a call need.

    Shared by the layers of a folded model: the embedding stage leaves the ids
    of the call that is being traced, the first layers take their codes.
    """

    def __init__(self, model: tf.keras.Model):
        self.fields = model.field_embeddings
        self.width = model.embedding_dim
        self.ids: Mapping[str, Any] = {}
        plain = [n for n in model.categorical if n not in model.sequences]
        self.groups: dict[str, list[str]] = {}
        for key, group in self.fields.groups.items():
            names = [n for n in plain if self.fields.fields[n] in group.names]
            small = isinstance(group, FusedCodeLookupEmbedding) and (
                group.codebook_size <= MAX_CODEBOOK_SIZE
            )
            if small and names:
                self.groups[key] = names
        self.starts = {n: i * self.width for i, n in enumerate(plain)}
        self.num_codes = sum(
            len(names) * self.fields.groups[key].num_subspaces
            for key, names in self.groups.items()
        )
        self.num_columns = self.width * sum(map(len, self.groups.values()))

    def index(self) -> tf.Tensor:
        """Rows of the products, int64 `[batch, num_codes]`."""
        parts, end = [], 1
        for key, names in self.groups.items():
            group = self.fields.groups[key]
            tables = [self.fields.fields[name] for name in names]
            ids = stack_ids(self.ids, names)
            rows, places, valid = group.find(ids, tables)
            size = group.num_subspaces * group.codebook_size
            # Entries count by table, products by feature.
            shift = end + (np.arange(len(names)) - places) * size
            index = group.entry_index(rows, places)
            index += tf.constant(shift[:, None], tf.int64)
            if valid is not None:
                index = tf.where(valid[..., None], index, 0)
            parts.append(
                tf.reshape(index, [-1, len(names) * group.num_subspaces])
            )
            end += len(names) * size
        return tf.concat(parts, axis=1)

    def products(self, kernel: np.ndarray, name: str) -> tf.Variable:
        """The table of products for a kernel `[input width, width]`."""
        parts = [np.zeros((1, kernel.shape[1]))]
        for key, names in self.groups.items():
            group = self.fields.groups[key]
            for feature in names:
                start = self.starts[feature]
                entries = _entries(group, self.fields.fields[feature])
                own = kernel[start : start + self.width].astype(np.float64)
                parts.append(entries[:, : self.width] @ own)
        # Named for the export, which tells variables by their names.
        return tf.Variable(
            np.concatenate(parts).astype(np.float32), False, name=name
        )

    def other_columns(self, width: int) -> list[tuple[int, int]]:
        """Ranges of the input's columns that no product is made for."""
        edges = [0]
        for start in sorted(
            self.starts[name]
            for names in self.groups.values()
            for name in names
        ):
            edges += [start, start + self.width]
        edges.append(width)
        pairs = zip(edges[::2], edges[1::2], strict=True)
        return [(start, stop) for start, stop in pairs if start < stop]


class _Multiply:
    """`inputs @ kernel`, looked up where that is faster."""

    def __init__(self, request: _Request, products: tf.Variable):
        self.request = request
        self.products = products

    def __call__(self, inputs: tf.Tensor, kernel: tf.Variable) -> tf.Tensor:
        request = self.request

        def multiplied() -> tf.Tensor:
            return tf.matmul(inputs, kernel)

        def looked_up() -> tf.Tensor:
            index = tf.reshape(request.index(), [-1])
            # Adds rows up without a copy of them. It reads the variable as
            # it is, which no gather may do besides: TensorFlow would copy.
            example = tf.range(tf.size(index)) // request.num_codes
            sums = tf.sparse.segment_sum(self.products, index, example)
            for start, stop in request.other_columns(inputs.shape[-1]):
                sums += tf.matmul(inputs[:, start:stop], kernel[start:stop])
            return sums

        if traced_for_xla():
            return multiplied()  # it has no such sum
        most = most_examples(request.num_columns, request.num_codes)
        few = tf.shape(inputs)[0] <= most
        return tf.cond(few, looked_up, multiplied)


class _FoldedFields(FusedFieldEmbeddings):
    request: _Request

    def stacked(
        self,
        inputs: Mapping[str, Any],
        features: Sequence[str],
        dtype: str | tf.DType,
        apart: int = 0,
    ) -> tuple[tuple[tf.Tensor, ...], dict[str, tf.Tensor]]:
        self.request.ids = dict(inputs)
        return super().stacked(inputs, features, dtype, apart)


class _FoldedDense(tf.keras.layers.Dense):
    multiply: _Multiply

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        outputs = self.multiply(inputs, raw(self.kernel)) + raw(self.bias)
        return self.activation(outputs)


def _entries(group: FusedCodeLookupEmbedding, table: str) -> np.ndarray:
    """What each entry adds to a vector, float64 `[M * K, output_dim]`."""
    codes, size = group.num_subspaces, group.codebook_size
    place = group.names.index(table)
    held = raw(group.codebooks)[place * codes * size :][: codes * size]
    held = held.numpy().reshape(codes, size, -1)
    split = group.output_dim - group.additive_dim
    width = split // codes
    shares = np.zeros((codes, size, group.output_dim))
    for code in range(codes):
        own = slice(code * width, (code + 1) * width)
        shares[code, :, own] = held[code, :, :width]
    shares[..., split:] = held[..., width:]
    return shares.reshape(codes * size, -1)


def _starts_dense(stack: DenseStack) -> bool:
    """Whether there is a first layer, which is not of low rank."""
    return isinstance(next(iter(stack.dense_layers), None), _DENSE)


def _cannot_fold(received: str) -> ValueError:
    return ValueError(
        '`fold` must be False or "auto" but for a DCNv2, DIN, DeepFM, GDCN or '
        "PNN that computes in float32, has a tower (or, a DCNv2, a cross "
        "network) whose first layer is of full rank, and is exported with "
        "fused tables of codes whose codebooks have up to "
        f"{MAX_CODEBOOK_SIZE} entries. Received: {received}"
    )
