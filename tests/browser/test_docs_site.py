"""The docs in a real browser: whole and apart at desk and phone width.

A step of its own (`python -m pytest tests/browser`): it needs the `docs` extra
and Chromium.
"""

import functools
import html
import http.server
import json
import pathlib
import re
import subprocess
import sys
import threading

import pytest

from tests.browser import chromium

ROOT = pathlib.Path(__file__).parents[2]
WIDTHS = (1280, 390)
PAGES = (
    "", "guide/concepts/", "guide/choose/", "guide/serving/", "recipes/",
    "faq/", "comparison/", "api/", "api/layers/", "api/commands/",
)  # fmt: skip
# Both widths, side by side: a window cannot be as narrow as a phone.
FRAMES = "<!doctype html><title>-</title><body style='margin:0;display:flex'>"
# What it finds goes into the title. What a box scrolls is not cut.
PROBE = """<script>
const look = (frame) => {
  const page = frame.contentDocument, root = page.documentElement;
  const edge = (e) => {  // of the boxes that scroll it
    let right = Infinity;
    for (; e && e !== page.body; e = e.parentElement)
      if (/auto|scroll/.test(frame.contentWindow.getComputedStyle(e).overflowX))
        right = Math.min(right, e.getBoundingClientRect().right);
    return right;
  };
  const texts = [], cut = [], overlaps = [];
  const content = page.querySelector(".md-content");
  const walk = page.createTreeWalker(content, NodeFilter.SHOW_TEXT);
  for (let node; (node = walk.nextNode());) {
    const owner = node.parentElement;
    if (!node.data.trim()) continue;
    const seen = edge(owner);
    const range = page.createRange();
    range.selectNodeContents(node);
    for (const box of range.getClientRects()) {
      if (box.right > seen - 1) continue;
      if (box.left < -0.5 || box.right > root.clientWidth + 0.5)
        cut.push(node.data);
      texts.push([box, node]);
    }
  }
  texts.sort(([a], [b]) => a.top - b.top);
  texts.forEach(([a, one], place) => {
    for (let i = place + 1; i < texts.length; i++) {
      const [b, other] = texts[i];
      // Line boxes are taller than letters.
      if (b.top > a.bottom - 6) break;
      const wide = Math.min(a.right, b.right) - Math.max(a.left, b.left);
      const tall = Math.min(a.bottom, b.bottom) - b.top;
      if (one !== other && wide > 1 && tall > 6)
        overlaps.push([one.data, other.data]);
    }
  });
  return {
    texts: texts.length,
    beyond: root.scrollWidth - root.clientWidth,
    cut, overlaps,
    missing: [...page.images].filter((e) => !e.naturalWidth)
      .map((e) => e.src),
    elsewhere: frame.contentWindow.performance.getEntriesByType("resource")
      .map((e) => e.name).filter((name) => !name.startsWith(location.origin)),
  };
};
onload = () => setTimeout(() => {
  document.title = JSON.stringify([...document.querySelectorAll("iframe")]
    .map(look));
}, 500);
</script>"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of the site, built without a warning, and its address."""
    folder = tmp_path_factory.mktemp("site")
    subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", folder],
        cwd=ROOT,
        check=True,
    )
    handler = functools.partial(Quiet, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format, *args):
        pass


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page or "start")
def test_text_is_whole_and_apart(site, page):
    folder, address = site
    boxes = "".join(
        f"<iframe src='/{page}' style='border:0;flex:none;"
        f"width:{width}px;height:900px'></iframe>"
        for width in WIDTHS
    )
    (folder / "frames.html").write_text(FRAMES + boxes + PROBE)
    dumped = chromium.dump(f"{address}/frames.html")
    title = re.search(r"<title>(\[.*?\])</title>", dumped, re.DOTALL)
    assert title, f"the page did not load: {dumped[:500]}"
    for width, found in zip(
        WIDTHS, json.loads(html.unescape(title[1])), strict=True
    ):
        assert found["texts"] > 20
        assert found["beyond"] <= 0, f"{found['beyond']} px too wide"
        for fault in ("cut", "overlaps", "missing", "elsewhere"):
            assert not found[fault], (width, fault)
