"""What was done to one dense layer."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class DenseReport:
    """A dense layer, and the factors that took its place.

    Args:
        path: its place in the model.
        inputs: width of its input.
        units: width of its output.
        use_bias: whether it has a bias.
        rank: width between the factors; None where it was left alone.
        kept_variance: share of its outputs' variance that is kept.
        note: why it was left alone, or "".
        item_bytes: bytes of a weight. Default 4.
    """

    path: str
    inputs: int
    units: int
    use_bias: bool = True
    rank: int | None = None
    kept_variance: float = 1.0
    note: str = ""
    item_bytes: int = 4

    @property
    def bytes_before(self) -> int:
        weights = (self.inputs + self.use_bias) * self.units
        return weights * self.item_bytes

    @property
    def bytes_after(self) -> int:
        if self.rank is None:
            return self.bytes_before
        return self.factor_bytes(self.rank)

    @property
    def most_rank(self) -> int:
        """The largest rank whose factors are smaller than the layer."""
        spare = self.bytes_before - self.factor_bytes(0) - self.item_bytes
        return max(0, min(self.units, spare // self.bytes_per_rank))

    @property
    def bytes_per_rank(self) -> int:
        return (self.inputs + 1 + self.units) * self.item_bytes

    def factor_bytes(self, rank: int) -> int:
        """Bytes of factors of this rank, biases included."""
        return rank * self.bytes_per_rank + self.units * self.item_bytes

    def __str__(self) -> str:
        shape = f"{self.path}: {self.inputs} x {self.units}"
        if self.rank is None:
            return f"{shape}, {self.note}"
        return (
            f"{shape}, rank {self.rank} keeps {self.kept_variance:.1%} of the "
            f"variance, {self.bytes_before:,} -> {self.bytes_after:,} bytes"
        )
