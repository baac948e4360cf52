"""Texts, scalars and histograms in the files that TensorBoard reads."""

import collections

import numpy as np
import pytest
import tensorflow as tf

import mec_tf
from mec_tf.compression import CompressionReport, TableReport
from tests.report.made_results import HOSTILE, PREFIX, make_results


def read(log_dir):
    """`{tag: [(plugin, step, value)]}` of all event files."""
    found = collections.defaultdict(list)
    for path in sorted(log_dir.glob("events.*")):
        for event in tf.compat.v1.train.summary_iterator(str(path)):
            for item in event.summary.value:
                found[item.tag].append(
                    (
                        item.metadata.plugin_data.plugin_name,
                        event.step,
                        tf.make_ndarray(item.tensor),
                    )
                )
    return found


def test_a_run(tmp_path):
    out, logs = tmp_path / "out", tmp_path / "logs"
    assets = out / "serving" / "1" / "assets"
    assets.mkdir(parents=True)
    make_results(out)
    name = "vocabulary_country_0123456789abcdef.txt"
    (assets / name).write_text("US\nFR\x85\nDE\nJP\n", encoding="utf-8")
    mec_tf.report.write_tensorboard(out, logs)
    tags = read(logs)
    ((plugin, step, text),) = tags["compression/report"]
    assert (plugin, step) == ("text", 0)
    assert "smaller**" in text.item().decode()
    ((plugin, _, auc),) = tags["full_precision/auc"]
    assert plugin == "scalars" and auc == np.float32(0.7008)
    score = tags["compressing/score"]
    assert [step for _, step, _ in score] == [0, 1, 2, 3, 4]
    assert score[0][2] == np.float32(0.741)
    assert [step for _, step, _ in tags["compressing/loss"]] == [1, 2, 3, 4]
    ((plugin, _, buckets),) = tags["tiers & more/tier_1/code_usage"]
    assert plugin == "histograms"
    assert buckets[:, 2].sum() == 32  # codes
    assert buckets[0, 0] == 0 and buckets[0, 2] >= 18  # the dead ones
    assert f"{HOSTILE}/code_usage" in tags
    country = (logs / "projector" / "003_country_metadata.tsv").read_text()
    assert [line.split("\t")[0] for line in country.split("\n")[:-1]] == [
        "value", "(missing or unknown)", "US", "FR", "DE", "JP",
    ]  # fmt: skip


def test_report_of_compress_as_text(tmp_path):
    tables = (
        TableReport("a|b", 1000, 8, 32_000, 1_000, "2 x 16 codes"),
        TableReport("c", 10, 8, 320, 320, "left alone", alone={"auc": -0.01}),
    )
    report = CompressionReport(tables, ("val_loss", 0.5, 0.4), 1.0)
    mec_tf.report.write_summary(report, tmp_path, step=3)
    (((plugin, step, value),),) = read(tmp_path).values()
    assert (plugin, step) == ("text", 3)
    text = value.item().decode()
    assert text == mec_tf.report.to_markdown(report.to_dict())
    assert text.startswith("**24.5× smaller**: 32.3 kB of embedding tables")
    assert r"val\_loss: 0.5000 before training, 0.4000 after." in text
    row = r"| a\|b | 1,000 | 8 | 32,000 | 1,000 | 32.0× | 2 x 16 codes |"
    assert row in text
    assert "| c | −0.0100 |" in text


def test_without_codes(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    make_results(out)
    (out / "codes.safetensors").unlink()
    mec_tf.report.write_tensorboard(out, tmp_path / "logs")
    assert not (tmp_path / "logs" / "projector_config.pbtxt").exists()
    tags = read(tmp_path / "logs")
    assert "ratio" in tags
    assert PREFIX not in "".join(tags)


def test_no_results(tmp_path):
    with pytest.raises(FileNotFoundError, match="report.json"):
        mec_tf.report.write_tensorboard(tmp_path, tmp_path / "logs")
    assert not (tmp_path / "logs").exists()
