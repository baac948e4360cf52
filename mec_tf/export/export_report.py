"""What an export wrote."""

import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True)
class ExportReport:
    """Sizes and checks of a SavedModel that `save` wrote.

    Args:
        path: its directory.
        bytes_on_disk: bytes of the embedding tables in its variables, each
            once; vocabularies are not part of it.
        dense_bytes: bytes of all other variables.
        bytes_total: bytes of all its files.
        vocabulary_bytes: bytes of its vocabulary files.
        signatures: `{signature: names of its inputs}`.
        inputs: `{feature: name of the input that takes it}`. They differ
            where a feature's name holds other characters than letters,
            digits and "_".
        max_difference: the largest absolute difference between its answers
            and the model's on the sample that verified it.
        folded_bytes: how many of `bytes_on_disk` are products of codebooks
            and kernels. Default 0: nothing was folded.
    """

    path: str
    bytes_on_disk: int
    dense_bytes: int
    bytes_total: int
    vocabulary_bytes: int
    signatures: dict[str, tuple[str, ...]]
    inputs: dict[str, str]
    max_difference: float
    folded_bytes: int = 0

    def to_dict(self) -> dict[str, Any]:
        """A copy that JSON can hold."""
        signatures = {k: list(names) for k, names in self.signatures.items()}
        return {**dataclasses.asdict(self), "signatures": signatures}

    def __str__(self) -> str:
        rows = {
            "embedding tables": f"{self.bytes_on_disk:,} bytes",
            "of them folded": f"{self.folded_bytes:,} bytes",
            "other weights": f"{self.dense_bytes:,} bytes",
            "vocabularies": f"{self.vocabulary_bytes:,} bytes",
            "all files": f"{self.bytes_total:,} bytes",
            "signatures": ", ".join(self.signatures),
            "largest difference": f"{self.max_difference:.1e}",
        }
        lines = [f"  {name:<20}{value}" for name, value in rows.items()]
        return "\n".join([f"SavedModel {self.path}", *lines])
