"""Which columns of a log mean what."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any


@dataclasses.dataclass(frozen=True)
class Schema:
    """Names the columns of a log and their kinds.

    Args:
        label: Column of 0 and 1 to predict.
        categorical: Columns of ids: strings or whole numbers.
        numeric: Columns of floats.
        timestamp: Column that orders the rows; not a feature.
        strings: The categorical columns whose values are kept as text; the
            others hold whole numbers. `None` (default) means that the reader
            finds out from the first block of the data.
        sequences: `{feature: categorical column}`: features whose value is a
            row of ids of one length, padded with 0, that share the
            vocabulary of the categorical column. Default: none.

    Raises:
        ValueError: If a column is named twice, no feature is named, or
            `strings` or `sequences` name a column that is not categorical.
    """

    label: str
    categorical: tuple[str, ...] = ()
    numeric: tuple[str, ...] = ()
    timestamp: str | None = None
    strings: tuple[str, ...] | None = None
    # Not part of the hash: a dict has none.
    sequences: Mapping[str, str] = dataclasses.field(
        default_factory=dict, hash=False
    )

    def __post_init__(self) -> None:
        for field in ("categorical", "numeric", "strings"):
            value = getattr(self, field)
            if isinstance(value, str):
                raise ValueError(
                    f"`{field}` must be a sequence of column names. Received: "
                    f"{field}={value!r}"
                )
            if value is not None:
                object.__setattr__(self, field, tuple(value))
        object.__setattr__(self, "sequences", dict(self.sequences))
        names = [self.label, *self.features]
        if self.timestamp is not None:
            names.append(self.timestamp)
        for name in names:
            if not isinstance(name, str) or not name:
                raise ValueError(
                    "Column names must be strings, not empty. Received: "
                    f"{name!r}"
                )
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(
                "A column must have one role: label, categorical, numeric, "
                f"sequence or timestamp. Received more for: {twice}"
            )
        if not self.features:
            raise ValueError(
                "A schema must name a categorical or numeric column. "
                "Received: none"
            )
        extra = sorted(set(self.strings or ()) - set(self.categorical))
        if extra:
            raise ValueError(
                "`strings` must name categorical columns. Received others: "
                f"{extra}"
            )
        extra = sorted(set(self.sequences.values()) - set(self.categorical))
        if extra:
            raise ValueError(
                "`sequences` must map features to categorical columns. "
                f"Received others: {extra}"
            )

    @property
    def features(self) -> tuple[str, ...]:
        """The categorical columns, the numeric ones, then the sequences."""
        return self.categorical + self.numeric + tuple(self.sequences)

    def drop(self, columns: tuple[str, ...]) -> Schema:
        """Returns the schema without some features.

        A sequence goes with the column whose vocabulary it shares.
        """

        def keep(names: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(name for name in names if name not in columns)

        return dataclasses.replace(
            self,
            categorical=keep(self.categorical),
            numeric=keep(self.numeric),
            strings=None if self.strings is None else keep(self.strings),
            sequences={
                name: column
                for name, column in self.sequences.items()
                if not {name, column} & set(columns)
            },
        )

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values, fit for JSON."""
        return {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in dataclasses.asdict(self).items()
        }

    @classmethod
    def from_dict(cls, config: Mapping[str, Any]) -> Schema:
        """Builds the schema that `to_dict` described."""
        return cls(**config)

    def __str__(self) -> str:
        def kind(name: str) -> str:
            if self.strings is None:
                return "categorical"
            text = "text" if name in self.strings else "whole numbers"
            return f"categorical, {text}"

        kinds = [(self.label, "label, 0 or 1")]
        kinds += [(name, kind(name)) for name in self.categorical]
        kinds += [(name, "numeric") for name in self.numeric]
        kinds += [(n, f"sequence of {c}") for n, c in self.sequences.items()]
        if self.timestamp is not None:
            kinds.append((self.timestamp, "timestamp, not a feature"))
        width = max(len(name) for name, _ in kinds)
        return "\n".join(f"{name:<{width}}  {text}" for name, text in kinds)
