"""A table that is stored as integers while it is trained."""

import random
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from mec_tf.layers.integer_embedding import STEP_SIZES, IntegerEmbedding
from mec_tf.layers.integer_rows import IntegerRows
from mec_tf.layers.row_updates import ROW_OPTIMIZERS, of_all_replicas
from mec_tf.layers.table_layer import TableLayer
from mec_tf.layers.variables import add_raw_weight, raw
from mec_tf.quantizers import integers

ROUNDINGS = ("stochastic", "deterministic")
DEFAULT_STEP = 0.01
_CHUNK = 65536
# Initializers whose values do not depend on the number of rows.
_BY_CHUNK = (
    tf.keras.initializers.RandomUniform,
    tf.keras.initializers.RandomNormal,
    tf.keras.initializers.TruncatedNormal,
)


def check_training(
    *,
    rounding: str,
    step_sizes: str,
    row_optimizer: str,
    initial_step: float | None,
    row_learning_rate: float,
    step_optimizer: str = "adam",
) -> None:
    """Raises ValueError unless the layer's arguments are in their range."""
    for name, value, known in (
        ("rounding", rounding, ROUNDINGS),
        ("step_sizes", step_sizes, STEP_SIZES),
        ("row_optimizer", row_optimizer, tuple(ROW_OPTIMIZERS)),
        ("step_optimizer", step_optimizer, tuple(ROW_OPTIMIZERS)),
    ):
        if value not in known:
            raise ValueError(
                f"`{name}` must be one of {', '.join(known)}. "
                f"Received: {name}={value!r}"
            )
    first_step = DEFAULT_STEP if initial_step is None else initial_step
    for name, number, least in (
        ("initial_step", first_step, integers.MIN_STEP),
        ("row_learning_rate", row_learning_rate, 0.0),
    ):
        if not (np.isfinite(number) and number >= least):
            raise ValueError(
                f"`{name}` must be finite and at least {least}. "
                f"Received: {name}={number}"
            )


@tf.keras.utils.register_keras_serializable("mec_tf")
class LowPrecisionEmbedding(TableLayer):
    """A trainable table of 8-, 4- or 2-bit integers; no float copy of it.

    A row is integers times a step size. The backward pass of a lookup steps
    the rows that the batch touched, as floats, by an optimizer of the layer's
    own, rounds them and writes them back; the rest of the table is neither
    read nor written. Works in a plain `fit` with any optimizer for the rest
    of the model. Step sizes stay fixed there (LPT); they are learned (ALPT)
    where `mec_tf.training.use_alpt` gave the model its train step.

    What this means for training:

    * The layer has one trainable weight, the scalar `anchor`, always 0: it
      makes the backward pass reach the layer. Set `trainable = False` and the
      table stands still. Gradient clipping, weight decay and accumulation of
      the model's optimizer do not see the rows; losses on the vectors do
      count.
    * Every gradient of something that depends on the vectors, taken by a tape
      that watches trainable variables, is a step of the rows: set
      `trainable = False` around gradients that are not for training.
    * Lookups of one layer in the same train step are steps one after the
      other, each on the rows that the one before left; under `use_alpt` their
      gradients are summed to one step.
    * A loss scale is divided out; it is read off a loss of 0 that the layer
      adds while `training`. Where a gradient is not finite, the table stays
      as it is.
    * Replicas of a `tf.distribute` strategy step by the gradients of all.

    Ids out of range, and padding where `mask_zero` is set, update nothing.

    Weights besides `anchor`, never in a gradient: `codes`, uint8 `[stored
    rows, bytes a row]`; `steps`, float32 `[stored rows]` or `[1]`; `slots`,
    the row optimizer's floats; `step_slots`, those of the step sizes'
    optimizer; `counter`, int64, steps so far. Rounding noise depends on
    `seed` and `counter` alone: a run restored from a checkpoint goes on bit
    for bit.

    Args:
        input_dim: int, rows of the table.
        output_dim: int, width of a vector.
        bits: 8 (default), 4 or 2.
        rounding: "stochastic" (default), right on average, or
            "deterministic", to the nearest integer: steps of less than half a
            step size are then lost.
        step_sizes: "row" (default) or "table", what a step size is of.
        learned_steps: bool, whether `use_alpt` learns the step sizes.
            Default True.
        initial_step: float, every step size at first. Default None: 0.01;
            for a `warm_start`, by the rows.
        row_optimizer: "adagrad" (default), row-wise, one float a row; "sgd",
            none; or "adam", two floats a column, lazy.
        row_learning_rate: float, of the row optimizer. Default 0.01.
        step_optimizer: of learned step sizes: "adam" (default, two floats a
            step size), "adagrad" or "sgd".
        embeddings_initializer: Keras initializer of the rows, which are then
            rounded. Default "uniform".
        seed: int of the rounding noise. Default: drawn, following
            `tf.keras.utils.set_random_seed`.
        **kwargs: `additive_dim`, `private_rows`, `mask_zero`, `oov` as in
            `TableLayer`, and those of `tf.keras.layers.Layer`.

    Input shape: integer ids of any shape; ragged ids too.
    Output shape: the same with `output_dim` added, in `compute_dtype`.

    Raises:
        ValueError: if an argument is out of its range; in the backward pass,
            if vectors are float16 and the model's call does not pass on
            `training`, as the loss scale is unknown then.

    Example:
        >>> layer = LowPrecisionEmbedding(100, 8, bits=4)
        >>> layer(tf.constant([[1, 2, 3]])).shape
        TensorShape([1, 3, 8])
        >>> frozen = layer.freeze()  # an `IntegerEmbedding`

    Reference:
        "Adaptive Low-Precision Training for Embeddings in Click-Through Rate
        Prediction" (arXiv 2212.05735).
    """

    table_variables = ("codes", "steps")

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        *,
        bits: int = 8,
        rounding: str = "stochastic",
        step_sizes: str = "row",
        learned_steps: bool = True,
        initial_step: float | None = None,
        row_optimizer: str = "adagrad",
        row_learning_rate: float = 0.01,
        step_optimizer: str = "adam",
        embeddings_initializer: Any = "uniform",
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(input_dim, output_dim, **kwargs)
        self.bits = integers.check_bits(bits)
        check_training(
            rounding=rounding,
            step_sizes=step_sizes,
            row_optimizer=row_optimizer,
            step_optimizer=step_optimizer,
            initial_step=initial_step,
            row_learning_rate=row_learning_rate,
        )
        self.rounding = rounding
        self.step_sizes = step_sizes
        self.learned_steps = learned_steps
        self.initial_step = None
        if initial_step is not None:
            self.initial_step = float(initial_step)
        self.row_optimizer = row_optimizer
        self.row_learning_rate = float(row_learning_rate)
        self.step_optimizer = step_optimizer
        self.embeddings_initializer = tf.keras.initializers.get(
            embeddings_initializer
        )
        self.seed = random.getrandbits(31) if seed is None else int(seed)
        # Set by ALPT's train step while it is traced: `(rows, counted,
        # training)` of a lookup to its vectors.
        self.take_lookup: Callable | None = None

    def build(self, input_shape: Any = None) -> None:
        rows, one_step = self.stored_rows, self.step_sizes == "table"
        # A model that `fit` builds is built while a graph is traced.
        with tf.init_scope():
            codes = self._initial_codes()
        self.anchor = add_raw_weight(
            self, "anchor", (), "float32", "zeros", trainable=True
        )
        self.codes = add_raw_weight(self, "codes", codes.shape, "uint8", codes)
        self.steps = add_raw_weight(
            self,
            "steps",
            (1 if one_step else rows,),
            "float32",
            tf.keras.initializers.Constant(self._first_step),
        )
        width = ROW_OPTIMIZERS[self.row_optimizer].slot_width(self.output_dim)
        self.slots = self._add_slots("slots", rows, width)
        width = ROW_OPTIMIZERS[self.step_optimizer].slot_width(1)
        if not self.learned_steps:
            width = 0
        self.step_slots = self._add_slots(
            "step_slots", 1 if one_step else rows, width
        )
        self.counter = add_raw_weight(self, "counter", (), "int64", "zeros")
        self.table = IntegerRows(
            codes=self.codes,
            steps=self.steps,
            slots=self.slots,
            step_slots=self.step_slots,
            counter=self.counter,
            dim=self.output_dim,
            bits=self.bits,
            optimizer=ROW_OPTIMIZERS[self.row_optimizer],
            learning_rate=self.row_learning_rate,
            step_optimizer=ROW_OPTIMIZERS[self.step_optimizer],
            noise_seed=self.seed if self.rounding == "stochastic" else None,
        )
        self.built = True

    @property
    def _first_step(self) -> float:
        return DEFAULT_STEP if self.initial_step is None else self.initial_step

    def _add_slots(self, name: str, rows: int, width: int) -> Any:
        if not width:
            return None
        return add_raw_weight(self, name, (rows, width), "float32", "zeros")

    def _initial_codes(self) -> np.ndarray:
        steps = np.array([self._first_step], np.float32)
        shape = (self.stored_rows, self.output_dim)
        initializer = self.embeddings_initializer
        if not isinstance(initializer, _BY_CHUNK):
            return integers.pack_table(
                np.asarray(initializer(shape)), steps, self.bits
            )
        config = initializer.get_config()
        seed = config.get("seed")
        seeds = random.Random(seed if isinstance(seed, int) else None)
        if not isinstance(seed, int):
            seeds.seed(random.getrandbits(31))
        packed = []
        for start in range(0, shape[0], _CHUNK):
            chunk = (min(_CHUNK, shape[0] - start), shape[1])
            own = {**config, "seed": seeds.getrandbits(31)}
            values = np.asarray(type(initializer).from_config(own)(chunk))
            packed.append(integers.pack_table(values, steps, self.bits))
        return np.concatenate(packed)

    def lookup(
        self, rows: tf.Tensor, training: bool, counted: tf.Tensor | None = None
    ) -> tf.Tensor:
        flat = tf.reshape(rows, [-1])
        if counted is None:
            counted = tf.ones_like(flat, tf.bool)
        counted = tf.reshape(counted, [-1])
        if self.trainable:
            take = self.take_lookup or self._trained_lookup
            vectors = take(flat, counted, training)
        else:
            vectors = self.table.vectors(flat)
        shape = tf.concat([tf.shape(rows), [self.output_dim]], axis=0)
        vectors = tf.reshape(vectors, shape)
        vectors.set_shape(rows.shape + [self.output_dim])
        return vectors

    def _trained_lookup(
        self, rows: tf.Tensor, counted: tf.Tensor, training: bool
    ) -> tf.Tensor:
        def step(gradients: tf.Tensor, scale: tf.Tensor) -> None:
            if self.learned_steps:
                warnings.warn(
                    f"The step sizes of {self.name} stay fixed in this "
                    "training. Call `mec_tf.training.use_alpt(model)` to "
                    "learn them, or set `learned_steps=False`.",
                    stacklevel=2,
                )
            joined = of_all_replicas(rows, counted, gradients / scale)
            self.table.write(self.table.stepped(*joined))

        return self.vectors_with_hook(rows, training, step)

    def vectors_with_hook(
        self,
        rows: tf.Tensor,
        training: bool,
        hook: Callable[[tf.Tensor, tf.Tensor], None],
    ) -> tf.Tensor:
        """Looks rows up; the backward pass calls `hook`.

        Args:
            rows: integers `[n]`.
            training: whether the layer may add a loss of 0 that tells the
                loss scale.
            hook: called with the gradients by the vectors, float32 `[n, D]`,
                and the scale that is in them.

        Returns:
            float32 `[n, D]`.
        """

        @tf.custom_gradient
        def hooked(anchor, vectors):
            def backward(gradients, probe):
                gradients = tf.convert_to_tensor(gradients)
                hook(gradients, self._loss_scale(probe, training))
                return tf.zeros_like(anchor), tf.zeros_like(vectors)

            return (tf.identity(vectors), tf.zeros([])), backward

        anchor = tf.convert_to_tensor(raw(self.anchor))
        vectors, probe = hooked(anchor, self.table.vectors(rows))
        if training:
            self.add_loss(probe)
        return vectors

    def _loss_scale(self, probe: tf.Tensor, training: bool) -> tf.Tensor:
        """The factor of the loss, from the gradient by a loss added to it."""
        if not training and self.compute_dtype == "float16":
            raise ValueError(
                f"{self.name} cannot tell the loss scale: the model must pass "
                "`training` on to its layers (`def call(self, inputs, "
                "training=None)`) to be trained in float16. "
                "Received: training=False"
            )
        context = tf.distribute.get_replica_context()
        replicas = 1 if context is None else context.num_replicas_in_sync
        # In a loop that takes no losses from layers, 0 arrives.
        return tf.where(probe > 0, probe * replicas, 1.0)

    def warm_start(
        self,
        table: np.ndarray,
        counts: np.ndarray | None = None,
        *,
        seed: int = 0,
    ) -> None:
        """Starts from the rows of a trained table, rounded.

        Step sizes become `initial_step`; where that is None, for each row the
        one of least squared error, or the mean of these over the table. The
        optimizers start anew.

        Args:
            table: float `[input_dim, output_dim]`.
            counts: `[input_dim]` training counts, weights of the rows that
                share row 0. Default: all alike.
            seed: of nothing here; rounding is to the nearest integer.

        Raises:
            ValueError: if the shape differs or a value is not finite.
        """
        table = self.rows_to_store(table, counts)
        if not self.built:
            self.build()
        if self.initial_step is None:
            steps = integers.step_sizes_of(table, self.bits)
            steps[~table.any(axis=1)] = DEFAULT_STEP
        else:
            steps = np.full(len(table), self.initial_step, np.float32)
        if self.step_sizes == "table":
            steps = steps.mean(keepdims=True)
        raw(self.steps).assign(steps)
        raw(self.codes).assign(integers.pack_table(table, steps, self.bits))
        for state in self.weights:
            if state is not self.steps and state is not self.codes:
                raw(state).assign(tf.zeros_like(raw(state)))

    def freeze(
        self, state: Mapping[str, np.ndarray] | None = None, **config: Any
    ) -> IntegerEmbedding:
        """The same table without what only training needs.

        Args:
            state: an earlier `frozen_state` to freeze instead of the present
                one.
            **config: other arguments of `IntegerEmbedding`;
                `step_dtype="float16"` rounds the step sizes, by default the
                answers are the same bit for bit.
        """
        settings: dict[str, Any] = {
            "input_dim": self.input_dim,
            "output_dim": self.output_dim,
            "bits": self.bits,
            "step_sizes": self.step_sizes,
            "additive_dim": self.additive_dim,
            "private_rows": self.private_rows,
            "mask_zero": self.mask_zero,
            "oov": self.oov,
            "name": self.name,
        }
        state = self.frozen_state() if state is None else state
        return IntegerEmbedding.from_codes(
            state["codes"], state["steps"], **{**settings, **config}
        )

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        config.update(
            bits=self.bits,
            rounding=self.rounding,
            step_sizes=self.step_sizes,
            learned_steps=self.learned_steps,
            initial_step=self.initial_step,
            row_optimizer=self.row_optimizer,
            row_learning_rate=self.row_learning_rate,
            step_optimizer=self.step_optimizer,
            embeddings_initializer=tf.keras.initializers.serialize(
                self.embeddings_initializer
            ),
            seed=self.seed,
        )
        return config
