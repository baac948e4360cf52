"""The notebooks as committed: executed in order, and fit to be read anywhere.

That they run is for `.ci/run` to show.
"""

import base64
import json
import pathlib
import re
import struct

import pytest

ROOT = pathlib.Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
NOTEBOOKS = sorted(EXAMPLES.glob("*.ipynb"))
NAMES = [
    "alpt_and_low_rank",
    "csv_to_tf_serving",
    "mec_in_depth",
    "shrink_and_serve",
    "tfrs_ranking_and_retrieval",
]
LARGEST = 400_000  # bytes; a reader's browser shows it at once
MACHINE = re.compile(
    r"/tmp/|/work/|/root/|/home/|/usr/|/opt/|site-packages|ipykernel"
)
WARNING = re.compile(r"Warning|WARNING|Traceback|^[IWEF]0000 ", re.MULTILINE)
BADGE = re.compile(
    r"\[!\[Open in Colab\]\(https://colab\.research\.google\.com/assets/"
    r"colab-badge\.svg\)\]\(https://colab\.research\.google\.com/github/"
    r"(?P<repository>[\w-]+/[\w-]+)/blob/main/(?P<path>\S+)\)"
)

pytestmark = pytest.mark.keras3_only
each = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def read(path):
    return json.loads(path.read_text())


def cells(path, kind):
    found = read(path)["cells"]
    return [cell for cell in found if cell["cell_type"] == kind]


def source(cell):
    return "".join(cell["source"])


def texts(cell):
    """All that the outputs of a cell say."""
    for output in cell["outputs"]:
        yield "".join(output.get("text", ""))
        for kind, value in output.get("data", {}).items():
            if not kind.startswith("image/"):
                yield "".join(value)


def pictures(path):
    for cell in cells(path, "code"):
        for output in cell["outputs"]:
            if "image/png" in output.get("data", {}):
                yield base64.b64decode("".join(output["data"]["image/png"]))


def test_all_are_there():
    assert [path.stem for path in NOTEBOOKS] == NAMES


@each
def test_format(path):
    notebook = read(path)
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    assert path.stat().st_size < LARGEST
    ids = [cell["id"] for cell in notebook["cells"]]
    assert len(set(ids)) == len(ids)
    assert all(not cell["metadata"] for cell in notebook["cells"])


@each
def test_opens_with_badge_and_gain(path):
    first = read(path)["cells"][0]
    assert first["cell_type"] == "markdown"
    badge = BADGE.match(source(first))
    assert badge and badge["path"] == f"examples/{path.name}"
    assert "**What you gain.**" in source(first)


def test_badges_name_one_repository():
    texts = [source(read(path)["cells"][0]) for path in NOTEBOOKS]
    assert len({BADGE.match(text)["repository"] for text in texts}) == 1


@each
def test_first_code_installs_in_colab_only(path):
    first = source(cells(path, "code")[0])
    install = r'if "google\.colab" in sys\.modules:\n    %pip install .*mec_tf'
    assert re.search(install, first)
    everything = "".join(source(cell) for cell in cells(path, "code"))
    assert everything.count("pip install") == 1
    # TensorFlow reads the environment when it is imported.
    assert "import tensorflow" not in first


@each
def test_was_run_from_top_to_bottom(path):
    found = cells(path, "code")
    counts = [cell["execution_count"] for cell in found]
    assert counts == list(range(1, len(found) + 1))
    for cell in found:
        for output in cell["outputs"]:
            assert output["output_type"] != "error"
            assert output.get("name") != "stderr", output["text"]
        if re.search(r"^print\(|^%%bash", source(cell), re.MULTILINE):
            assert any(texts(cell)), source(cell)
        if re.search(r"^figure, ", source(cell), re.MULTILINE):
            kinds = [
                kind for o in cell["outputs"] for kind in o.get("data", ())
            ]
            assert "image/png" in kinds, source(cell)


@each
def test_outputs_are_clean(path):
    for cell in cells(path, "code"):
        for text in texts(cell):
            assert not MACHINE.search(text), text
            assert not WARNING.search(text), text


@each
def test_pictures_are_whole(path):
    found = list(pictures(path))
    assert found
    for picture in found:
        assert picture.startswith(b"\x89PNG\r\n\x1a\n")
        assert picture.endswith(b"IEND\xaeB`\x82")
        width, height = struct.unpack(">II", picture[16:24])
        assert 150 < height <= width <= 1000


@each
def test_links_resolve(path):
    for cell in cells(path, "markdown"):
        for target in re.findall(r"\]\(([^)\s]+)\)", source(cell)):
            if not target.startswith("https://"):
                assert (EXAMPLES / target).exists(), target


@each
def test_is_in_the_docs(path):
    page = (ROOT / "docs" / "notebooks.md").read_text()
    assert f"`examples/{path.name}`" in page
