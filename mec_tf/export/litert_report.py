"""What an export to LiteRT wrote."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class LiteRTReport:
    """Sizes and checks of a file that `save_litert` wrote.

    Args:
        path: the file.
        table_bytes: bytes of the embedding tables in it.
        bytes_total: bytes of the file.
        widened_bytes: how many of them stem from float16 codebooks that had
            to be stored as float32; 0 where there were none.
        inputs: `{feature: name of the input that takes it}`.
        max_difference: the largest absolute difference between its answers
            and the model's on the sample that verified it.
    """

    path: str
    table_bytes: int
    bytes_total: int
    widened_bytes: int
    inputs: dict[str, str]
    max_difference: float

    def __str__(self) -> str:
        rows = {
            "embedding tables": f"{self.table_bytes:,} bytes",
            "whole file": f"{self.bytes_total:,} bytes",
            "largest difference": f"{self.max_difference:.1e}",
        }
        if self.widened_bytes:
            rows["float16 widened"] = f"{self.widened_bytes:,} bytes more"
        lines = [f"  {name:<20}{value}" for name, value in rows.items()]
        return "\n".join([f"LiteRT model {self.path}", *lines])
