"""Whether a frozen model still fits recent data."""

import dataclasses
import hashlib
import json
import math
import os
import pathlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from mec_tf.compression.batches import as_batches
from mec_tf.compression.tables import table_layers
from mec_tf.files import ArtifactError, write_text
from mec_tf.training.evaluation import rank_auc
from mec_tf.training.popularity_tiers import TIERS, popularity_tiers

_FORMAT = "mec_tf.drift_report"
_VERSION = 1
# In the place of a tier: lookups of ids that the table does not know.
UNKNOWN = "unknown"
# Of a tier, for its distortion to be told from chance.
MIN_EXAMPLES = 1_000
CHUNK = 65_536


@dataclasses.dataclass(frozen=True)
class TierDrift:
    """The lookups of one tier of one feature's rows.

    Args:
        share: of the feature's lookups.
        examples: number of examples.
        auc: on these examples, or None where a class is missing.
        auc_error: standard error of it (Hanley and McNeil, 1982), or None.
        distortion: squared error of the vectors looked up / their squared
            norm, or None where full rows were not given.
    """

    share: float
    examples: int
    auc: float | None
    auc_error: float | None
    distortion: float | None = None


@dataclasses.dataclass(frozen=True)
class DriftReport:
    """What `drift_report` found. Print it to read it.

    Args:
        auc: on all examples, or None where a class is missing.
        examples: their number.
        features: `{feature: {tier: TierDrift}}`; tiers are "popular",
            "middle", "rare" (a third of the training lookups each) and
            "unknown".
    """

    auc: float | None
    examples: int
    features: Mapping[str, Mapping[str, TierDrift]]

    def reasons(
        self,
        reference: "DriftReport",
        max_auc_drop: float = 0.005,
        max_unknown_rise: float = 0.05,
        max_distortion_rise: float = 0.1,
    ) -> list[str]:
        """Why something should be done; empty where nothing should.

        Re-learning the codes pays where the AUC of a tier fell by more than
        `max_auc_drop` and by more than two standard errors of the difference
        (small tiers vary by chance), or where its distortion, measured in
        both reports on at least 1,000 examples of the tier, rose by more than
        `max_distortion_rise`: the codes are far from what recent
        full-precision rows say. New rows pay (`fit_new_rows`) where the share
        of unknown ids rose by more than `max_unknown_rise`.

        Args:
            reference: the report on validation data when the model was
                compressed.
            max_auc_drop: fall of a tier's AUC that is let pass.
            max_unknown_rise: rise of the share of unknown ids that is let
                pass.
            max_distortion_rise: rise of a tier's distortion that is let pass.

        Returns:
            One sentence a reason, the features in order.
        """
        found = []
        for feature, tiers in self.features.items():
            before = reference.features.get(feature, {})
            for name in TIERS:
                fall, error = _fall(before.get(name), tiers.get(name))
                if fall > max(max_auc_drop, 2.0 * error):
                    found.append(
                        f"Re-learn the codes: the AUC of {name} rows of "
                        f"{feature} fell by {fall:.4f} (standard error "
                        f"{error:.4f})."
                    )
                rise = _distortion_rise(before.get(name), tiers.get(name))
                if rise > max_distortion_rise:
                    found.append(
                        f"Re-learn the codes: the distortion of {name} rows of "
                        f"{feature} rose by {rise:.4f}."
                    )
            rise = _share(tiers) - _share(before)
            if rise > max_unknown_rise:
                found.append(
                    f"Add rows to {feature}: {_share(tiers):.1%} of its "
                    f"lookups are unknown, {_share(before):.1%} before."
                )
        return found

    def save(self, path: str | os.PathLike) -> None:
        """Writes a JSON file, beside and then renamed into place."""
        content = {
            "format": _FORMAT,
            "version": _VERSION,
            **dataclasses.asdict(self),
        }
        content["sha256"] = _checksum(content)
        write_text(path, json.dumps(content, indent=1) + "\n")

    @classmethod
    def load(cls, path: str | os.PathLike) -> "DriftReport":
        """Reads a file of `save`.

        Raises:
            FileNotFoundError: if there is no such file.
            ArtifactError: if the file is damaged, foreign, or of another
                format version.
        """
        try:
            content = json.loads(pathlib.Path(path).read_text())
            if (content["format"], content["version"]) != (_FORMAT, _VERSION):
                raise ValueError(f"version {content['version']}")
            if content.pop("sha256") != _checksum(content):
                raise ValueError("its checksum does not agree")
            features = {
                feature: {name: TierDrift(**t) for name, t in tiers.items()}
                for feature, tiers in content["features"].items()
            }
            return cls(content["auc"], content["examples"], features)
        except FileNotFoundError:
            raise
        # Whatever a foreign file makes its reader raise.
        except Exception as error:
            reason = f"no drift report of version {_VERSION}"
            detail = f"{type(error).__name__}: {error}"
            raise ArtifactError(path, f"{reason} ({detail})") from error

    def __str__(self) -> str:
        lines = [
            f"{self.examples} examples, AUC {_text(self.auc)}",
            f"{'feature':24} {'tier':8} {'lookups':>8} {'AUC':>8} "
            f"{'+-':>8} {'distortion':>10}",
        ]
        for feature, tiers in self.features.items():
            for name, tier in tiers.items():
                lines.append(
                    f"{feature:24} {name:8} {tier.share:8.1%} "
                    f"{_text(tier.auc):>8} {_text(tier.auc_error):>8} "
                    f"{_text(tier.distortion):>10}"
                )
        return "\n".join(lines)


def drift_report(
    model: tf.keras.Model,
    data: Any,
    counts: Mapping[str, np.ndarray],
    *,
    unknown_row: int | None = 0,
    full_rows: Mapping[str, np.ndarray] | None = None,
    tables: Mapping[str, str] | None = None,
) -> DriftReport:
    """AUC, unknown ids and distortion on recent data, by popularity tier.

    Make one on validation data when the model is compressed, save it, and
    compare later ones with it: `recent.reasons(reference)`.

    Args:
        model: gives a score `[batch, 1]` for a binary label.
        data: a `tf.data.Dataset` of batches `({feature: ids}, label)`, or a
            tuple of arrays.
        counts: `{feature: training counts [rows]}` of the features to look
            at, such as `log.counts`. Their tiers come from these counts.
            Features of one id an example only; others are refused.
        unknown_row: ids of this row, and ids out of range, are unknown.
            Default 0, as in `mec_tf.data.Vocabulary`. None: only ids out of
            range.
        full_rows: `{feature: float [rows, dim]}`, full-precision rows that
            distortion is measured from. Default: not measured.
        tables: `{feature: path of its table, or the last part of it}` where
            it is not the feature's name. Only `full_rows` needs it.

    Raises:
        ValueError: if a feature is missing or has no table, or there is no
            data.
    """
    labels, scores, ids = _collect(model, as_batches(data), counts)
    features = {}
    for feature, number in counts.items():
        tier = _tiers(ids[feature], np.asarray(number), unknown_row)
        relative: Callable[[np.ndarray], float | None] = _no_error
        if full_rows is not None and feature in full_rows:
            name = (tables or {}).get(feature, feature)
            relative = _RelativeError(
                _table(model, name), full_rows[feature], ids[feature]
            )
        features[feature] = {
            name: _tier_drift(labels, scores, tier == place, relative)
            for place, name in enumerate((*TIERS, UNKNOWN))
            if name == UNKNOWN or (tier == place).any()
        }
    everything = _tier_drift(
        labels, scores, np.ones(len(labels), bool), _no_error
    )
    return DriftReport(everything.auc, len(labels), features)


def _checksum(content: Mapping[str, Any]) -> str:
    """The SHA-256 of what a file holds besides it."""
    text = json.dumps(content, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _collect(
    model: tf.keras.Model, data: tf.data.Dataset, features: Iterable[str]
) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    labels, scores = [], []
    ids: dict[str, list[np.ndarray]] = {name: [] for name in features}
    for inputs, label, *_ in data:
        labels.append(np.ravel(label))
        scores.append(np.ravel(model(inputs, training=False)))
        for name, found in ids.items():
            if name not in inputs:
                raise ValueError(
                    "`counts` must name features of the data: "
                    f"{', '.join(inputs)}. Received: {name}"
                )
            found.append(np.ravel(inputs[name]))
            if len(found[-1]) != len(labels[-1]):
                raise ValueError(
                    "`counts` must name features of one id an example. "
                    f"Received: {name}, of shape {tuple(inputs[name].shape)}"
                )
    if not labels:
        raise ValueError("`data` must hold a batch. Received no data.")
    joined = {name: np.concatenate(found) for name, found in ids.items()}
    return np.concatenate(labels), np.concatenate(scores), joined


def _tiers(
    ids: np.ndarray, counts: np.ndarray, unknown_row: int | None
) -> np.ndarray:
    """Tier of each lookup; `len(TIERS)` where the id is unknown."""
    known = (ids >= 0) & (ids < len(counts))
    if unknown_row is not None:
        known &= ids != unknown_row
        counts = counts.copy()
        counts[unknown_row] = 0
    tier = popularity_tiers(counts)[np.where(known, ids, 0)]
    return np.where(known, tier, len(TIERS))


def _tier_drift(labels, scores, members, relative) -> TierDrift:
    auc = error = None
    positives = int(labels[members].sum())
    negatives = int(members.sum()) - positives
    if positives and negatives:
        auc = rank_auc(labels[members], scores[members])
        error = auc_error(auc, positives, negatives)
    return TierDrift(
        float(members.mean()),
        int(members.sum()),
        auc,
        error,
        relative(members),
    )


def auc_error(auc: float, positives: int, negatives: int) -> float:
    """Standard error of an AUC of so many examples.

    Reference:
        Hanley and McNeil, "The meaning and use of the area under a receiver
        operating characteristic (ROC) curve", Radiology 1982.
    """
    q1, q2 = auc / (2.0 - auc), 2.0 * auc**2 / (1.0 + auc)
    variance = (
        auc * (1.0 - auc)
        + (positives - 1) * (q1 - auc**2)
        + (negatives - 1) * (q2 - auc**2)
    )
    return math.sqrt(max(0.0, variance) / (positives * negatives))


def _no_error(members: np.ndarray) -> None:
    return None


class _RelativeError:
    """Squared error / squared norm of the vectors of some lookups."""

    def __init__(self, layer: Any, rows: np.ndarray, ids: np.ndarray):
        shape = (layer.input_dim, layer.output_dim)
        if np.shape(rows) != shape:
            raise ValueError(
                f"`full_rows` must hold {shape} values of {layer.name}. "
                f"Received shape {np.shape(rows)}"
            )
        self.errors, self.norms = np.zeros((2, shape[0]))
        for start in range(0, shape[0], CHUNK):
            places = np.arange(start, min(start + CHUNK, shape[0]))
            exact = np.asarray(rows[places], np.float64)
            gaps = layer(tf.constant(places)).numpy() - exact
            self.errors[places] = np.square(gaps).sum(axis=1)
            self.norms[places] = np.square(exact).sum(axis=1)
        self.ids = ids

    def __call__(self, members: np.ndarray) -> float | None:
        ids = self.ids[members]
        ids = ids[(ids >= 0) & (ids < len(self.norms))]
        norm = self.norms[ids].sum()
        return float(self.errors[ids].sum() / norm) if norm else None


def _table(model: tf.keras.Model, name: str) -> Any:
    layers = table_layers(model)
    found = [p for p in layers if name in (p, p.split("/")[-1])]
    if len(found) != 1:
        raise ValueError(
            f"`tables` must say which table {name!r} is, of {', '.join(layers)}"
        )
    return layers[found[0]]


def _fall(
    before: TierDrift | None, after: TierDrift | None
) -> tuple[float, float]:
    """How far the AUC fell, and the standard error of that."""
    if before is None or after is None:
        return 0.0, 0.0
    if before.auc is None or after.auc is None:
        return 0.0, 0.0
    errors = (before.auc_error or 0.0, after.auc_error or 0.0)
    return before.auc - after.auc, math.hypot(*errors)


def _share(tiers: Mapping[str, TierDrift]) -> float:
    return tiers[UNKNOWN].share if UNKNOWN in tiers else 0.0


def _distortion_rise(before: TierDrift | None, now: TierDrift | None) -> float:
    """0 unless both reports measured it on enough examples."""
    if before is None or before.distortion is None:
        return 0.0
    if now is None or now.distortion is None:
        return 0.0
    if min(before.examples, now.examples) < MIN_EXAMPLES:
        return 0.0
    return now.distortion - before.distortion


def _text(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
