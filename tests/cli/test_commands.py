"""The commands end to end on a small log, and each error they can give."""

import json
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow as tf

from mec_tf.cli import main as cli

COLUMNS = 3


def write_log(path, rows=3000, seed=0, change=lambda table: None):
    """A CSV of three id columns, a number and a label they explain."""
    rng = np.random.default_rng(seed)
    ids = np.minimum(rng.zipf(1.4, (rows, COLUMNS)), 200)
    number = rng.lognormal(size=rows).round(3)
    taste = np.random.default_rng(9).normal(size=201)
    chance = 1 / (1 + np.exp(-taste[ids].sum(axis=1)))
    table = {f"c{i}": [f"v{k}" for k in ids[:, i]] for i in range(COLUMNS)}
    table["amount"] = number.tolist()
    table["click"] = (rng.random(rows) < chance).astype(int).tolist()
    change(table)
    lines = [",".join(table)]
    lines += [
        ",".join(map(str, row)) for row in zip(*table.values(), strict=True)
    ]
    path.write_text("\n".join(lines) + "\n")
    return path


def command(path, output, *extra):
    return [
        "mec-tf", "compress", "--data", str(path), "--label", "click",
        "--output_dir", str(output), "--embedding_dim", "8", "--ratio", "4",
        "--hidden_units", "8", "--batch_size", "256", "--epochs", "1",
        "--no_tuning", *extra,
    ]  # fmt: skip


def run(argv):
    return cli.main(cli._parse(argv))


def test_compress_writes_everything(tmp_path, capsys):
    log = write_log(tmp_path / "log.csv")
    out = tmp_path / "out"
    assert run(command(log, out)) == 0
    report = json.loads((out / "report.json").read_text())
    assert report["ratio"] >= 4
    small, full = report["compressed"], report["full_precision"]
    assert full["bytes"] / small["bytes"] == pytest.approx(report["ratio"])
    assert small["bytes_on_disk"] == pytest.approx(small["bytes"], rel=0.05)
    for side in (small, full):
        assert 0.5 < side["auc"] < 1 and 0 < side["log_loss"] < 1
    assert {"seconds", "seed", "dataset", "model"} <= set(report)
    assert len(report["tables"]) == COLUMNS
    assert sum(t["bytes_after"] for t in report["tables"]) == small["bytes"]
    assert "AUC" in (out / "report.md").read_text()
    assert (out / "auc_vs_bytes.png").read_bytes()[:4] == b"\x89PNG"
    assert f"{report['ratio']:.1f}× smaller" in (
        (out / "report.html").read_text(encoding="utf-8")
    )
    assert len(report["history"]["loss"]) == len(report["history"]["score"])
    assert report["score"][0] == "score"
    coded = [t for t in report["tables"] if t["code_perplexity"]]
    assert coded and all(t["distortion"]["rare"] > 0 for t in coded)
    assert not (out / "work").exists()
    served = tf.saved_model.load(report["export_dir"])
    answer = served.signatures["serving_default"](
        c0=tf.constant(["v1", "never seen"]),
        c1=tf.constant(["v1", "v2"]),
        c2=tf.constant(["v1", ""]),
        amount=tf.constant([1.0, float("nan")]),
    )["probability"]
    assert ((answer > 0) & (answer < 1)).numpy().all()
    capsys.readouterr()
    for path in (
        report["export_dir"],
        str(out / "model.keras"),
        str(out / "codes.safetensors"),
    ):
        assert run(["mec-tf", "inspect", path]) == 0
        printed = capsys.readouterr().out
        assert f"{small['bytes']:,}" in printed
        assert f"{report['ratio']:.1f}x" in printed


def test_a_distilled_model_is_chosen_by_its_nearness_to_the_full_one(tmp_path):
    log = write_log(tmp_path / "log.csv")
    out = tmp_path / "out"
    assert run(command(log, out, "--distill", "--epochs", "4")) == 0
    report = json.loads((out / "report.json").read_text())
    name, before, after = report["score"]
    assert name == "val_loss"
    assert after == min(before, *report["history"]["val_loss"])
    page = (out / "report.html").read_text("utf-8")
    assert f"{after:.4f} kept" in page
    assert "what the full-precision model answers" in page
    assert report["settings"]["distill"]
    model = tf.keras.models.load_model(out / "model.keras")
    assert model.embedding_l2 == report["settings"]["embedding_l2"] > 0


def fractional(table):
    table["c0"] = [7] * (len(table["c0"]) - 1) + [3.7]
    table["c0"][0] = 8


BAD = {
    "label column": (
        lambda t: t.update(clack=t.pop("click")),
        (), "click",
    ),
    "non-binary label": (
        lambda t: t["click"].__setitem__(5, 2),
        (), "click",
    ),
    "one value": (
        lambda t: t.__setitem__("c1", ["same"] * len(t["c1"])),
        (), "c1",
    ),
    "impossible ratio": (lambda t: None, ("--ratio", "1000000"), "ratio"),
    "ratio below one": (lambda t: None, ("--ratio", "0.5"), "`ratio`"),
    "subspaces": (
        lambda t: None, ("--num_subspaces", "3"), "`--num_subspaces`",
    ),
    "codes of another method": (
        lambda t: None, ("--method", "alpt", "--num_subspaces", "2"),
        "`--num_subspaces`",
    ),
    "dense layers of a new model": (
        lambda t: None, ("--method", "hash", "--dense_ratio", "2"), "`dense`",
    ),
    "no epochs": (lambda t: None, ("--epochs", "0"), "`--epochs`"),
    "no batch": (lambda t: None, ("--batch_size", "0"), "`batch_size`"),
    "no rate": (
        lambda t: None, ("--learning_rates", "nan"), "`learning_rate`",
    ),
    "label is no column": (lambda t: None, ("--label", "x"), "x"),
    "no time column": (
        lambda t: None, ("--split", "by_day"), "--time_column",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_error_and_leaves_nothing(name, tmp_path, capsys):
    change, extra, words = BAD[name]
    log = write_log(tmp_path / "log.csv", rows=600, change=change)
    assert run(command(log, tmp_path / "new" / "out", *extra)) == 2
    error = capsys.readouterr().err.replace("\r", "\n").strip()
    error = error.splitlines()[-1]  # behind progress bars
    assert words in error and error.startswith("mec-tf: error: ")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["log.csv"]


def test_missing_and_empty_files(tmp_path, capsys):
    empty = tmp_path / "empty.csv"
    empty.touch()
    for path in (tmp_path / "none.csv", empty):
        assert run(command(path, tmp_path / "out")) == 2
        assert path.name in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["empty.csv"]


def test_ids_that_are_not_whole_numbers(tmp_path, capsys):
    log = write_log(tmp_path / "log.csv", rows=200_000, change=fractional)
    assert run(command(log, tmp_path / "out")) == 2
    assert "c0" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_output_directory_in_use_stays_as_it_is(tmp_path, capsys):
    log = write_log(tmp_path / "log.csv", rows=600)
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("keep")
    assert run(command(log, out)) == 2
    assert "`--output_dir`" in capsys.readouterr().err
    assert [p.name for p in out.iterdir()] == ["mine.txt"]


def test_output_directory_that_cannot_be_made(tmp_path, capsys):
    log = write_log(tmp_path / "log.csv", rows=600)
    assert run(command(log, log / "out")) == 2
    assert "`--output_dir`" in capsys.readouterr().err


def test_killed_and_started_again_it_goes_on(tmp_path):
    log = write_log(tmp_path / "log.csv", rows=4000)
    out = tmp_path / "out"
    argv = command(log, out, "--epochs", "40")
    script = "from mec_tf.cli.main import run; run()"
    first = subprocess.Popen(
        [sys.executable, "-c", script, *argv[1:]],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    state = out / "work" / "full" / "state.npz"
    deadline = time.monotonic() + 400
    while not state.exists() and first.poll() is None:
        assert time.monotonic() < deadline, "no checkpoint was written"
        time.sleep(0.05)
    first.send_signal(signal.SIGKILL)
    first.wait()
    kept = (out / "work" / "log" / "log.json").stat().st_mtime_ns
    with np.load(state) as saved:
        before = json.loads(str(saved["state"]))["progress"]
    changed = [*argv, "--seed", "1"]
    assert run(changed) == 2  # other settings: refused, nothing lost
    assert (out / "work" / "log" / "log.json").stat().st_mtime_ns == kept
    assert run(argv) == 0
    report = json.loads((out / "report.json").read_text())
    assert report["full_precision"]["auc"] > 0.5
    assert before["epoch"] >= 1 and not before["done"]
    assert pathlib.Path(report["export_dir"]).is_dir()


def test_help_teaches(capsys):
    for argv in (["mec-tf"], ["mec-tf", "compress"], ["mec-tf", "quickstart"]):
        with pytest.raises(SystemExit) as stop:
            cli._parse([*argv, "--help"])
        assert stop.value.code == 0
        assert "SavedModel" in capsys.readouterr().out or len(argv) == 1
