"""The docs: every public name has its place, links resolve, examples run."""

import ast
import contextlib
import dataclasses
import importlib
import inspect
import io
import json
import pathlib
import pkgutil
import re
import sys

import numpy as np
import pytest

import mec_tf
from benchmarks import studies, summary
from benchmarks.environment import read_rows
from mec_tf.cli import main
from tests import docs_examples

ROOT = pathlib.Path(__file__).parents[1]
DOCS = ROOT / "docs"
# What the other packages share, and the commands, are not for users' code.
INTERNAL = {"mec_tf.cli", "mec_tf.files"}
PACKAGES = ["mec_tf"] + [
    f"mec_tf.{found.name}"
    for found in pkgutil.iter_modules(mec_tf.__path__)
    if found.ispkg and f"mec_tf.{found.name}" not in INTERNAL
]
PUBLIC = [
    f"{package}.{name}"
    for package in PACKAGES
    for name in importlib.import_module(package).__all__
]
PAGES = sorted(
    page
    for page in DOCS.rglob("*.md")
    if (DOCS / "results") not in page.parents
)
# A link or an image: its target, without a title.
LINK = re.compile(r"\]\(([^)\s]+)(?:\s+\"[^\"]*\")?\)")
EXAMPLE = re.compile(r"<!-- tested ?(\w*) ?-->\n```python\n(.*?)```", re.DOTALL)


def resolved(name):
    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(module), attribute)


def documented():
    """Names after `:::` in the reference."""
    found = set()
    for page in (DOCS / "api").glob("*.md"):
        found.update(re.findall(r"^::: (\S+)", page.read_text(), re.MULTILINE))
    return found


def constant_docstring(name):
    """The string under a constant, where it is assigned."""
    module, _, attribute = name.rpartition(".")
    for found in walk_modules(module):
        body = ast.parse(inspect.getsource(found)).body
        for statement, after in zip(body, body[1:], strict=False):
            if attribute in assigned(statement):
                if isinstance(after, ast.Expr) and isinstance(
                    after.value, ast.Constant
                ):
                    return after.value.value
    return None


def walk_modules(name):
    """The module of this name, and those it imports the same value from."""
    module = importlib.import_module(name)
    yield module
    for statement in ast.parse(inspect.getsource(module)).body:
        if isinstance(statement, ast.ImportFrom) and statement.module:
            if statement.module.startswith("mec_tf."):
                yield importlib.import_module(statement.module)


def assigned(statement):
    if isinstance(statement, ast.AnnAssign):
        targets = [statement.target]
    elif isinstance(statement, ast.Assign):
        targets = statement.targets
    else:
        targets = []
    return {t.id for t in targets if isinstance(t, ast.Name)}


def own_parameters(value):
    """Parameters that the docstring of `value` has to explain."""
    if inspect.isclass(value):
        if "__init__" not in vars(value) or is_protocol(value):
            return []
        if dataclasses.is_dataclass(value):
            return [f.name for f in dataclasses.fields(value) if f.init]
        value = value.__init__
    names = inspect.signature(value).parameters
    return [name for name in names if name != "self"]


def is_protocol(value):
    return getattr(value, "_is_protocol", False)


def explained(docstring):
    """Names in the `Args:` section."""
    section = re.search(
        r"^Args:\n(.*?)(?=^\S|\Z)",
        inspect.cleandoc(docstring),
        re.DOTALL | re.MULTILINE,
    )
    if section is None:
        return set()
    return set(re.findall(r"^ {4}\*{0,2}(\w+):", section[1], re.MULTILINE))


@pytest.mark.keras3_only
@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_name_has_a_docstring(name):
    value = resolved(name)
    if inspect.ismodule(value):
        assert value.__doc__
        return
    if not (inspect.isclass(value) or inspect.isfunction(value)):
        assert constant_docstring(name), f"a string under {name}"
        return
    assert value.__doc__, f"{name} has no docstring"
    docstring = inspect.cleandoc(value.__doc__)
    summary = docstring.splitlines()[0]
    assert summary.endswith((".", "?")), f"{name}: {summary}"
    parameters = own_parameters(value)
    # The few that say "as of ..." point to where the arguments are.
    if parameters and not re.search(r"^Args.*: as of", docstring, re.MULTILINE):
        missing = set(parameters) - explained(docstring)
        assert not missing, f"{name} does not explain {sorted(missing)}"


@pytest.mark.keras3_only
@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_name_has_a_place_in_the_reference(name):
    value = resolved(name)
    index = (DOCS / "api" / "index.md").read_text()
    if name.startswith("mec_tf.") and name.count(".") == 1:
        assert f"`{name}`" in index, f"docs/api/index.md lacks {name}"
    if inspect.ismodule(value) or name in documented():
        return
    # What two packages share has one entry.
    assert name == "mec_tf.__version__" or any(
        resolved(other) is value for other in documented()
    ), f"docs/api has no `::: {name}`"


@pytest.mark.keras3_only
def test_the_reference_names_what_exists():
    for name in documented():
        assert resolved(name) is not None
        # It hides a function of its name from the site's generator.
        assert name not in sys.modules, f"{name} is a module"


@pytest.mark.keras3_only
def test_every_page_is_in_the_navigation():
    navigation = (ROOT / "mkdocs.yml").read_text()
    for page in PAGES:
        assert str(page.relative_to(DOCS)) in navigation, page


@pytest.mark.keras3_only
@pytest.mark.parametrize(
    "page", [ROOT / "README.md", *PAGES], ids=lambda p: str(p.relative_to(ROOT))
)
def test_relative_links_resolve(page):
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    for target in LINK.findall(text):
        path, _, anchor = target.partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        linked = (page.parent / path) if path else page
        assert linked.exists(), f"{page}: {target}"
        if anchor and linked.suffix == ".md":
            assert anchor in anchors(linked), f"{page}: {target}"


def anchors(page):
    """Anchors of a page's headings, as the site's generator makes them."""
    found = set()
    for heading in re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE):
        plain = re.sub(r"[^\w\s-]", "", heading).strip().lower()
        found.add(re.sub(r"[-\s]+", "-", plain))
    return found


@pytest.mark.keras3_only
def test_each_cell_of_the_comparison_is_backed():
    page = (DOCS / "comparison.md").read_text()
    rows = re.findall(r"^\| (?!Project|-)(.+) \|$", page, re.MULTILINE)
    assert len(rows) == 16
    for project, *cells in (row.split(" | ") for row in rows):
        for cell in cells:
            backed = cell == "–" or LINK.search(cell) or "`python" in cell
            assert backed, f"{project}: {cell}"


@pytest.mark.keras3_only
@pytest.mark.parametrize(
    "page", ["README.md", "docs/index.md", "docs/guide/choose.md"]
)
def test_figures_are_those_of_the_committed_results(page):
    text = (ROOT / page).read_text().replace("&nbsp;", " ")
    file = ROOT / "benchmarks" / "results" / "quality_flights.json"
    rows = json.loads(file.read_text())["rows"]
    rows = [r for r in rows if r["backbone"] == "deepfm"]
    full = {r["seed"]: r for r in rows if r["method"] == "full"}
    assert f"{np.mean([r['auc'] for r in full.values()]):.4f}" in text
    for ratio in (50.0, 100.0):
        found = [
            r
            for r in rows
            if (r["method"], r["target_ratio"]) == ("mec", ratio)
        ]
        assert {r["seed"] for r in found} == set(full)
        gains = [r["auc"] - full[r["seed"]]["auc"] for r in found]
        losses = [r["log_loss"] - full[r["seed"]]["log_loss"] for r in found]
        for figure in (
            f"{ratio:.0f}x",
            f"{np.mean([r['auc'] for r in found]):.4f}",
            f"{np.mean(gains):+.4f} ± {np.std(gains, ddof=1):.4f}",
            f"{np.mean(losses):+.4f}",
        ):
            assert figure in text, f"{page}: {figure}"


@pytest.mark.keras3_only
@pytest.mark.parametrize("name", ["flights", "video_games"])
def test_quality_page_holds_the_committed_tables(name):
    page = (DOCS / "guide" / "quality.md").read_text()
    results = ROOT / "benchmarks" / "results"
    rows = read_rows(str(results / f"quality_{name}.json"))
    table = summary.table(rows)
    assert len(table.splitlines()) > 2
    assert table in page
    assert (results / f"quality_{name}.md").read_text().strip() == table


@pytest.mark.keras3_only
@pytest.mark.parametrize(
    "names, least",
    [
        (("methods_flights", "methods_video_games"), 20),
        (("scratch_flights", "scratch_video_games"), 10),
    ],
)
def test_choose_page_holds_what_methods_cost(names, least):
    results = ROOT / "benchmarks" / "results"
    table = summary.costs(
        row
        for name in names
        for row in read_rows(str(results / f"{name}.json"))
    )
    assert table.count("\n") > least
    assert table in (DOCS / "guide" / "choose.md").read_text()


@pytest.mark.keras3_only
def test_studies_page_holds_the_committed_table():
    file = ROOT / "benchmarks" / "results" / "studies_video_games.json"
    table = studies.table(read_rows(str(file)))
    assert table.count("\n") > 10
    assert table in (DOCS / "guide" / "studies.md").read_text()


@pytest.mark.keras3_only
def test_choose_page_tells_of_memory_in_training():
    page = (DOCS / "guide" / "choose.md").read_text()
    results = ROOT / "benchmarks" / "results" / "table_memory.json"
    for row in read_rows(str(results)):
        assert f"| {row['bytes_a_row']} | {row['ratio']:.2f} |" in page


@pytest.mark.keras3_only
def test_quality_page_tells_of_large_tables():
    page = (DOCS / "guide" / "quality.md").read_text()
    results = ROOT / "benchmarks" / "results" / "large_tables.json"
    full, small = read_rows(str(results))
    for figure in (
        f"{full['table_rows']:,}",
        f"{small['ratio']:.1f}x",
        f"{full['auc']:.4f}",
        f"{small['auc']:.4f}",
        f"{small['auc'] - full['auc']:+.4f}",
        f"{full['peak_rss'] / 1e9:.2f} GB",
        f"{small['peak_rss'] / 1e9:.2f} GB",
        f"{full['seconds']:.0f} s",
        f"{small['seconds']:.0f} s",
    ):
        assert figure in page, figure


@pytest.mark.keras3_only
@pytest.mark.parametrize("name", ["flights", "video_games"])
def test_quality_page_tells_of_new_ids(name):
    page = (DOCS / "guide" / "quality.md").read_text()
    results = ROOT / "benchmarks" / "results" / f"new_rows_{name}.json"
    rows = read_rows(str(results))
    line = f"| {name}, {rows[0]['feature']} "
    for method in ("unknown", "new_rows", "retrained", "full"):
        found = [row["auc"] for row in rows if row["method"] == method]
        line += f"| {np.mean(found):.4f} "
    assert f"{line}| {len(found)} |" in page
    kept = [r for r in rows if r["method"] == "new_rows"]
    assert all(row["old_rows_unchanged"] for row in kept)


@pytest.mark.keras3_only
def test_commands_page_names_every_option():
    page = (DOCS / "api" / "commands.md").read_text()
    commands = re.search(r"\{([\w,]+)\}", help_of())[1].split(",")
    assert commands == re.findall(r"^## (\w+)$", page, re.MULTILINE)
    named = set(re.findall(r"--[a-z]\w+", page))
    for command in commands:
        options = set(re.findall(r"--[a-z]\w+", help_of(command)))
        missing = options - named - {"--help", "--helpfull"}
        assert not missing, f"{command}: {missing}"


def help_of(*command):
    with (
        contextlib.redirect_stdout(io.StringIO()) as out,
        pytest.raises(SystemExit),
    ):
        main._parse(["mec-tf", *command, "--help"])
    return out.getvalue()


def run(page, kind, names):
    """Runs the examples of one kind, in the order of the page."""
    examples = EXAMPLE.findall((DOCS / page).read_text())
    found = [code for marks, code in examples if marks == kind]
    assert found, f"{page} has no example of kind {kind!r}"
    for code in found:
        exec(compile(code, page, "exec"), names)
    return names


@pytest.mark.keras3_only
def test_concepts_run():
    run("guide/concepts.md", "", {})


@pytest.mark.keras3_only
def test_recipes_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = run("recipes.md", "", docs_examples.names())
    assert names["result"].report.ratio >= 20
    served = mec_tf.export.inspect_saved_model("server/shop/2")
    assert served.bytes_on_disk > 0


@pytest.mark.keras3_only
@pytest.mark.slow
def test_recipe_of_a_log_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    docs_examples.write_clicks(tmp_path / "clicks.csv")
    names = run("recipes.md", "slow", {})
    assert names["result"].report.ratio >= 8
    assert (tmp_path / "serving/clicks/1/saved_model.pb").exists()


@pytest.mark.keras2_only
def test_recipe_of_tensorflow_recommenders_runs(tmp_path, monkeypatch):
    names = run("recipes.md", "keras2", docs_examples.tfrs_names())
    assert names["result"].report.ratio >= 8
