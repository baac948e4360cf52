"""Projections of rows before they are coded."""


def check_rank(rank: int | None, rotated: bool, width: int) -> None:
    """Raises ValueError unless rows of this width can have this rank."""
    if rank is None or (rotated and 1 <= rank <= width):
        return
    raise ValueError(
        f"`rank` must lie between 1 and the {width} columns that are coded, "
        "and goes with rotated rows. "
        f"Received: rank={rank!r}, rotated={rotated}"
    )
