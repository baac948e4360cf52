"""The quality benchmark on a log of a minute's making."""

import dataclasses
import json

import numpy as np
import pytest
import tensorflow as tf

from benchmarks import (
    low_precision,
    methods,
    quality,
    studies,
    summary,
    usage,
)
from benchmarks.runner import Cell, Runner
from mec_tf import pipeline
from mec_tf.training import FitSettings, fit
from tests.harness import raw_variable

RATIO = 4.0


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    rng = np.random.default_rng(0)
    items = [rng.choice(200, 6, replace=False) for _ in range(400)]
    path = tmp_path_factory.mktemp("data") / "log.txt"
    lines = [f"{user} {item}" for user in range(400) for item in items[user]]
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def make_runner(folder, data):
    return Runner(
        str(folder / "rows.json"),
        data=data,
        l2=(0.01, 0.1),
        learning_rates=(0.002,),
        settings=FitSettings(epochs=1, evaluations=1),
        model={"embedding_dim": 4, "hidden_units": (8,)},
    )


def measured(runner, names, seed=0, backbone="deepfm"):
    made = methods.cells("log", backbone, names, [RATIO], seed, "deepfm")
    return [methods.run(runner, cell) for cell in made]


@pytest.mark.keras3_only  # for time; nothing here hangs on the Keras
def test_every_method_has_a_row_and_a_second_run_measures_nothing(
    tmp_path, data, monkeypatch
):
    runner = make_runner(tmp_path, data)
    names = ["full", "mec", "hash", "stage2", "stage2_distilled"]
    full, *others = measured(runner, names)
    assert [row["method"] for row in runner.rows] == names
    for row in others:
        assert row["ratio"] >= RATIO
        assert row["bytes_on_disk"] == row["bytes"] <= full["bytes"] / RATIO
        assert 0 < row["auc"] < 1 and 0 < row["validation_auc"] < 1
        assert row["calibration_error"] >= 0
        assert row["seconds"] > 0
        assert row["inference_ratio"] > 0
    state = tmp_path / "rows.json.work/log/deepfm/seed0"
    tuned = full["settings"]["embedding_l2"]
    (kept,) = (state / "full-1").iterdir()
    assert kept.name.endswith(f"l2{tuned:g}")

    again = make_runner(tmp_path, data)
    monkeypatch.delattr(pipeline, "train_full")
    assert [full, *others] == measured(again, names)
    text = quality.write_summary(again.rows, again.output)
    assert text.count("\n") == 1 + len(others)
    assert "stage2 from deepfm" in text
    assert summary.costs(again.rows).count("\n") == 1 + len(others)
    assert (tmp_path / "rows.png").stat().st_size > 1000


@pytest.mark.keras3_only  # for time; nothing here hangs on the Keras
def test_low_precision_starts_as_full_precision_does(
    tmp_path, data, monkeypatch
):
    monkeypatch.setitem(low_precision.ROW_RATES, "adagrad", (0.01, 0.1))
    starts = []

    def recorded(make, *args, **kwargs):
        def wrapped(settings):
            model = make(settings)
            starts.append(
                [raw_variable(w).numpy() for w in model.tower.weights]
            )
            return model

        return fit(wrapped, *args, **kwargs)

    monkeypatch.setattr(low_precision, "fit", recorded)
    runner = make_runner(tmp_path, data)
    full, first = measured(runner, ["full", "alpt8_scratch"])
    _, second = measured(runner, ["full", "alpt8_scratch"], seed=1)
    (arm,) = measured(runner, ["lpt4_scratch"], seed=1)[1:]
    rates = {row["row_learning_rate"] for row in (first, second, arm)}
    assert len(rates) == 1
    # One per rate tried with the first arm and seed, then one.
    assert len(starts) == 4
    # From the paper's step sizes: rates of their own, and other integers.
    (paper,) = measured(runner, ["alpt8_paper"])[1:]
    assert len(starts) == 6
    assert paper["auc"] != first["auc"]
    log = runner.log("log", "deepfm")
    tf.keras.utils.set_random_seed(0)
    fresh = pipeline.RankingJob(model=runner.model).make_model(
        log, FitSettings(**full["settings"])
    )
    fresh(next(iter(log.dataset("train", 2)))[0])
    for weight, first_start, second_start in zip(
        fresh.tower.weights, starts[0], starts[1], strict=True
    ):
        np.testing.assert_array_equal(raw_variable(weight), first_start)
        np.testing.assert_array_equal(first_start, second_start)
    assert first["ratio"] > 1.8
    assert first["bytes_on_disk"] == first["bytes"]
    assert first["settings"] == full["settings"]


@pytest.mark.keras3_only  # for time; nothing here hangs on the Keras
@pytest.mark.parametrize(
    "study, arm",
    [("ablation", "both, paper"), ("cold", "pwr, 100x"), ("codebook", "K=16")],
)
def test_an_arm_of_a_study(tmp_path, data, study, arm):
    runner = make_runner(tmp_path, data)
    full = methods.run(runner, Cell("log", "deepfm", "full", 0))
    (cell,) = (
        cell
        for cell in studies.cells("log", "deepfm", study, RATIO, 0)
        if cell.arm == arm
    )
    row = studies.run(runner, cell)
    assert row["ratio"] >= cell.target_ratio
    assert 0 < row["perplexity"] <= 1
    assert set(row["tiers"]) == set(usage.TIERS)
    gap = f"{row['auc'] - full['auc']:+.4f}"
    assert f"| {study} | {arm} |" in studies.table(runner.rows)
    assert gap in studies.table(runner.rows)
    assert summary.table(runner.rows).count("\n") == 1  # a study is apart


def test_a_later_seed_keeps_the_tuned_settings(tmp_path, data):
    runner = make_runner(tmp_path, data)
    cell = Cell("log", "deepfm", "hash", 1, RATIO)
    assert runner.known_settings(cell) is None
    assert len(runner.job(cell, None).grid["embedding_l2"]) == 2
    settings = FitSettings(0.004, 0.05, epochs=1, evaluations=1)
    row = {**cell.key, "seed": 0, "settings": dataclasses.asdict(settings)}
    runner.rows += [
        {**row, "target_ratio": 2 * RATIO, "settings": {}},
        {**row, "method": "full", "settings": {}},
        row,
    ]
    assert runner.known_settings(cell) == settings
    grid = runner.job(cell, settings).grid
    assert grid == {"learning_rate": (0.004,), "embedding_l2": (0.05,)}


def test_rows_of_the_first_result_file_still_match():
    row = {"dataset": "flights", "backbone": "deepfm", "seed": 0}
    full = Cell("flights", "deepfm", "full", 0)
    mec = Cell("flights", "deepfm", "mec", 0, 50.0)
    assert full.matches({**row, "method": "full"})
    assert mec.matches({**row, "method": "mec", "target_ratio": 50.0})
    assert not mec.matches({**row, "method": "mec", "target_ratio": 100.0})
    assert not full.matches({**row, "method": "full", "study": "pwr"})
    json.dumps(mec.key)


def test_statistics_of_paired_differences():
    gaps = [0.001, 0.002, 0.003, 0.002, 0.001, 0.004]
    found = summary.paired(gaps)
    assert found.mean == pytest.approx(np.mean(gaps))
    assert found.sd == pytest.approx(np.std(gaps, ddof=1))
    assert 0.001 < found.low < found.mean < found.high < 0.004
    assert found.p == pytest.approx(2 / 2**6)  # all six of one sign
    assert summary.paired(gaps[:3]).p is None
    assert summary.paired(gaps[:1]).low is None
    assert summary.paired([0.0] * 6).p == 1.0


def test_pairs_are_of_the_same_seed():
    row = {"dataset": "a", "backbone": "b", "bytes": 1, "ratio": 50.0}
    rows = [
        {**row, "method": "full", "seed": 0, "auc": 0.5},
        {**row, "method": "full", "seed": 1, "auc": 0.6},
        {**row, "method": "mec", "seed": 1, "auc": 0.7, "target_ratio": 50.0},
        {**row, "method": "mec", "seed": 2, "auc": 0.9, "target_ratio": 50.0},
    ]
    ((key, pairs),) = summary.groups(rows).items()
    assert key == ("a", "b", "mec", 50.0)
    assert [(f["auc"], r["auc"]) for f, r in pairs] == [(0.6, 0.7)]


def test_costs_are_ratios_to_full_precision_of_the_seeds_that_tune_nothing():
    row = {"dataset": "a", "backbone": "b", "bytes": 60, "dense_bytes": 40}
    rows = []
    for seed in (0, 1):
        full = {**row, "method": "full", "seed": seed, "auc": 0.5}
        small = {**full, "method": "mec", "bytes": 10, "auc": 0.51}
        small.update(target_ratio=6.0, ratio=6.0, inference_ratio=0.5)
        rows += [{**full, "seconds": 10.0}, {**small, "seconds": 20.0}]
    rows[1]["seconds"] = 600.0  # tunes
    line = summary.costs(rows).splitlines()[-1]
    assert line == (
        "| a | b | mec | +0.0100 ± 0.0000 | 6.0 | 2.0 | 2.00 | 0.50 | 2 |"
    )
    for untimed in rows[1::2]:
        del untimed["inference_ratio"]
    assert summary.costs(rows).count("\n") == 1
