"""What a delta between two exports holds."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class DeltaReport:
    """Sizes of a file that `save_delta` wrote.

    Args:
        path: the file.
        bytes_total: its size.
        new_bytes: size of the SavedModel that it leads to.
        variables: `{variable: bytes of the file}` of those that changed.
        files: `{file: bytes of the file}` of those that are carried whole.
    """

    path: str
    bytes_total: int
    new_bytes: int
    variables: dict[str, int]
    files: dict[str, int]

    def __str__(self) -> str:
        rows = [
            ("whole file", self.bytes_total),
            ("for a SavedModel of", self.new_bytes),
            *sorted(self.variables.items()),
            *sorted(self.files.items()),
        ]
        width = max(len(name) for name, _ in rows) + 2
        lines = [f"  {name:<{width}}{size:,} bytes" for name, size in rows]
        return "\n".join([f"Delta {self.path}", *lines])
