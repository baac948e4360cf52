"""Output directories as `mec-tf compress` leaves them, made in no time."""

import json

import numpy as np

from mec_tf.compression import EmbeddingCodes, StoredTable
from mec_tf.layers import (
    CodeLookupEmbedding,
    HashedEmbedding,
    TableEmbedding,
    TieredEmbedding,
)

HOSTILE = "<script>window.pwned=1</script>"
LONG = "a_column_that_somebody_named_without_any_break_" * 3
PREFIX = "field_embeddings/tables/"
ROWS, DIM = 300, 9


def lookup(rows, seed, used=16):
    """Codes below `used` of 16: the others are dead."""
    rng = np.random.default_rng(seed)
    return CodeLookupEmbedding.from_codes(
        rng.zipf(1.5, (rows, 2)).clip(1, used) - 1,
        rng.normal(size=(2, 16, 5)).astype(np.float32),
        additive_dim=1,
    )


def tiered():
    tiers = [lookup(100, 3), lookup(ROWS - 100, 4, used=7)]
    layer = TieredEmbedding(ROWS, DIM, tiers, additive_dim=1)
    layer.build()
    return layer


def hashed():
    layer = HashedEmbedding(ROWS, DIM, num_rows=20)
    layer.build()
    return layer


def exact():
    layer = TableEmbedding(5, DIM)
    layer.build()
    return layer


def code_tables():
    """Tables by name: codes, dead codes, tiers, and one left as it is."""
    return {
        HOSTILE: lookup(ROWS, 0),
        LONG: lookup(ROWS, 1, used=5),
        "tiers & more": tiered(),
        "country": exact(),
    }


def make_codes(layers):
    return EmbeddingCodes(
        {
            PREFIX + name: StoredTable.from_layer(
                layer, 1000 // np.arange(1, layer.input_dim + 1)
            )
            for name, layer in layers.items()
        }
    )


def make_report(codes, method="mec", **changes):
    """The contents of `report.json`."""
    tables = [
        {
            "path": path, "rows": rows, "dim": dim, "bytes_before": before,
            "bytes_after": after, "how": how, "code_perplexity": None,
            "alone": None,
            "distortion": None if how.startswith("exact") else {
                "popular": 0.021, "middle": 0.2, "rare": 1.34,
            },
        }
        for path, rows, dim, before, after, how in codes.rows()
    ]  # fmt: skip
    return {
        "dataset": "clicks", "model": "deepfm", "method": method, "seed": 0,
        "ratio": codes.full_bytes / codes.bytes, "seconds": 12.3,
        "export_dir": "elsewhere/serving/1",
        "full_precision": {
            "auc": 0.7008, "log_loss": 0.5039, "calibration_error": 0.138,
            "bytes": codes.full_bytes,
        },
        "compressed": {
            "auc": 0.7004, "log_loss": 0.504, "calibration_error": 0.14,
            "bytes": codes.bytes, "bytes_on_disk": codes.bytes,
        },
        "settings": {"learning_rate": 0.001, "embedding_l2": 0.01},
        "tables": tables,
        "dense": [],
        "curve": [
            {"ratio": ratio, "bytes": codes.full_bytes // ratio, "auc": auc}
            for ratio, auc in ((25, 0.7001), (100, 0.6992), (200, 0.6993))
        ],
        "score": ["score", 0.741, 0.7446],
        "history": {
            "loss": [0.51, 0.505, float("nan"), 0.49],
            "score": [0.7421, 0.7446, 0.744, 0.7439],
        },
        **changes,
    }  # fmt: skip


def make_results(folder, layers=None, method="mec", **changes):
    """Writes `report.json` and `codes.safetensors`; returns the folder."""
    codes = make_codes(layers or code_tables())
    codes.save(folder / "codes.safetensors")
    report = make_report(codes, method, **changes)
    (folder / "report.json").write_text(json.dumps(report))
    return folder
