"""`mec-tf report`: what the page says, and what it refuses."""

import html.parser
import json
import xml.etree.ElementTree as ElementTree

import pytest

from mec_tf.cli import main as cli
from tests.report.made_results import (
    HOSTILE,
    LONG,
    code_tables,
    hashed,
    make_results,
)

VOID = ("meta",)


def run(folder, *extra):
    return cli.main(cli._parse(["mec-tf", "report", str(folder), *extra]))


def page_of(folder):
    assert run(folder) == 0
    return (folder / "report.html").read_text(encoding="utf-8")


class Reader(html.parser.HTMLParser):
    """Checks that elements nest; collects their names, links and text."""

    def __init__(self, page):
        super().__init__()
        self.open, self.names, self.links, self.words = [], [], [], []
        self.feed(page)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.names.append(tag)
        self.links += [v for k, v in attrs if k in ("href", "src")]
        assert not [key for key, _ in attrs if key.startswith("on")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


def test_page_says_it_all(tmp_path):
    page = page_of(make_results(tmp_path))
    text = Reader(page).text
    report = json.loads((tmp_path / "report.json").read_text())
    assert f"{report['ratio']:.1f}× smaller" in text
    assert "Test AUC is 0.0004 lower, within 0.001" in text
    assert "0.7008" in text and "0.7004" in text
    for title in (
        "Before and after", "AUC against bytes", "Tables", "Code usage",
        "Distortion by popularity", "Training while compressing", "Settings",
    ):  # fmt: skip
        assert title in text
    for table in report["tables"]:
        assert f"{table['bytes_after']:,}" in text and table["how"] in text
    total = sum(t["bytes_before"] for t in report["tables"])
    assert f"all tables {total:,}" in text
    assert "learning rate 0.001" in text
    for label in ("25×", "100×", "200×", "1×"):
        assert f">{label}</text>" in page
    assert "1.340" in text  # beyond what its bar can show
    assert "width:100.0%" in page
    assert "0.7446 kept" in text


def test_codes_are_counted_for_each_tier(tmp_path):
    text = Reader(page_of(make_results(tmp_path))).text
    usage = text[text.index("Code usage") : text.index("Distortion")]
    assert "2 × 16 codes" in usage
    assert "22 of 32 dead" in usage  # five of sixteen in use, twice
    assert "rows 0–99: 2 × 16 codes" in usage
    assert "rows 100–299: 2 × 16 codes" in usage
    assert "18 of 32 dead" in usage
    assert "country" not in usage


def test_page_is_self_contained_and_data_is_no_markup(tmp_path):
    page = page_of(
        make_results(tmp_path, dataset='"><img src=x onerror=pwned()>\0')
    )
    reader = Reader(page)
    assert not {"script", "img", "link", "iframe"} & set(reader.names)
    assert HOSTILE in reader.text and LONG in reader.text
    assert "http" not in page and "url(" not in page and "@import" not in page
    # What was not written into the directory has no link.
    assert set(reader.links) == {"codes.safetensors", "report.json"}
    assert "\0" not in page
    # Well-formed as XML too, inline SVG included.
    body = page[page.index("<body>") : page.index("</html>")]
    ElementTree.fromstring(body)


@pytest.mark.parametrize(
    ("auc", "log_loss", "words", "short"),
    [
        (0.702, 0.5039, "Test AUC is no lower than at full precision", False),
        (0.6901, 0.5039, "Quality falls short: test AUC is 0.0107 lower", True),
        (0.7008, 0.51, "the probabilities got worse", True),
        (float("nan"), 0.5, "could not be computed", True),
    ],
)
def test_the_verdict_is_honest(auc, log_loss, words, short, tmp_path):
    make_results(tmp_path)
    path = tmp_path / "report.json"
    report = json.loads(path.read_text())
    report["compressed"].update(auc=auc, log_loss=log_loss)
    path.write_text(json.dumps(report))
    page = page_of(tmp_path)
    assert words in Reader(page).text
    assert ('class="verdict short"' in page) == short


def test_method_without_codes(tmp_path):
    page = page_of(
        make_results(
            tmp_path, {"user": hashed()}, "hash",
            curve=[], history={}, score=None,
        )
    )  # fmt: skip
    text = Reader(page).text
    assert "the method hash stores rows in another way" in text
    assert "Training while compressing" not in text
    assert "other ratios, not trained on" not in text


def test_results_of_an_older_release(tmp_path):
    """Without codes, course, distortion, curve and dense layers."""
    make_results(tmp_path)
    (tmp_path / "codes.safetensors").unlink()
    path = tmp_path / "report.json"
    report = json.loads(path.read_text())
    for key in ("curve", "dense", "history", "score"):
        del report[key]
    for table in report["tables"]:
        del table["distortion"], table["alone"]
    path.write_text(json.dumps(report))
    text = Reader(page_of(tmp_path)).text
    assert "codes.safetensors is not in this directory" in text
    assert "Distortion" not in text


def test_losses_and_dense_layers_are_listed(tmp_path):
    layer = {
        "path": "tower/0", "inputs": 96, "units": 300, "bytes_before": 116400,
        "bytes_after": 50000, "note": "", "rank": 31,
    }  # fmt: skip
    make_results(tmp_path, dense=[layer, {**layer, "note": "left alone"}])
    path = tmp_path / "report.json"
    report = json.loads(path.read_text())
    report["tables"][0]["alone"] = {"auc": -0.0002, "log_loss": 0.0001}
    path.write_text(json.dumps(report))
    text = Reader(page_of(tmp_path)).text
    assert "tower/0 96 × 300 116,400 50,000 2.3× rank 31" in text
    assert "left alone" in text
    assert f"{HOSTILE} −0.0002 +0.0001" in text


def test_for_tensorboard_too(tmp_path, capsys):
    out, logs = tmp_path / "out", tmp_path / "logs"
    out.mkdir()
    make_results(out)
    assert run(out, "--tensorboard", str(logs)) == 0
    assert f"tensorboard --logdir {logs}" in capsys.readouterr().out
    assert (logs / "projector_config.pbtxt").exists()
    assert list(logs.glob("events.*"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda r: "{", "is damaged"),
        (lambda r: json.dumps([]), "the report must be an object"),
        (
            lambda r: json.dumps({k: r[k] for k in r if k != "tables"}),
            "the report must have `tables`",
        ),
        (
            lambda r: json.dumps({**r, "tables": [{"path": 3}]}),
            "`path` of an item of `tables`",
        ),
        (lambda r: json.dumps({**r, "ratio": "50"}), "`ratio`"),
        (lambda r: json.dumps({**r, "curve": {}}), "`curve`"),
    ],
)
def test_foreign_report_is_one_error(change, words, tmp_path, capsys):
    make_results(tmp_path)
    path = tmp_path / "report.json"
    path.write_text(change(json.loads(path.read_text())))
    assert run(tmp_path) == 2
    error = capsys.readouterr().err.strip()
    assert words in error and error.startswith("mec-tf: error: ")
    assert not (tmp_path / "report.html").exists()


@pytest.mark.parametrize("name", ["missing", "empty"])
def test_directory_without_a_report(name, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert run(tmp_path / name) == 2
    error = capsys.readouterr().err
    assert "`OUT_DIR`" in error and "report.json" in error


def test_damaged_codes(tmp_path, capsys):
    make_results(tmp_path, {"user": code_tables()[HOSTILE]})
    (tmp_path / "codes.safetensors").write_bytes(b"nothing")
    assert run(tmp_path) == 2
    assert "codes.safetensors" in capsys.readouterr().err
