"""How dense layers are compressed."""

import dataclasses
from collections.abc import Mapping
from typing import Any


@dataclasses.dataclass(frozen=True)
class DenseSettings:
    """Dense layers as two thin ones; see `low_rank_dense`.

    Give exactly one of the first three.

    Args:
        ranks: the rank of every layer, or ranks by path.
        kept_variance: least share of each layer's variance to keep.
        ratio: bytes of all dense layers before / after.
        inner_activation: Keras activation between the factors. Default: none.
        keep_first: whether the first layer of each tower and cross network
            stays. Default True.

    Raises:
        ValueError: unless exactly one of the first three is given.
    """

    ranks: int | Mapping[str, int] | None = None
    kept_variance: float | None = None
    ratio: float | None = None
    inner_activation: Any = None
    keep_first: bool = True

    def __post_init__(self):
        given = (self.ranks, self.kept_variance, self.ratio)
        if sum(value is not None for value in given) != 1:
            raise ValueError(
                "Exactly one of `ranks`, `kept_variance` and `ratio` must be "
                f"given. Received: {self}"
            )
