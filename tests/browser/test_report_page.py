"""`report.html` in a real browser, light and dark, at desk and phone width.

A step of its own (`python -m pytest tests/browser`): it needs Chromium.
"""

import html
import json
import re

import numpy as np
import pytest
import tensorflow as tf

from mec_tf.report import write_html
from tests.browser import chromium
from tests.report.made_results import hashed, make_results

WIDTHS = (1280, 390)
HEIGHT = 9000
# Blink's numbers of `prefers-color-scheme`, and the paper of the page.
SCHEMES = {"dark": (0, (16, 22, 27)), "light": (1, (253, 253, 252))}
ACCENTS = {"dark": (85, 200, 188), "light": (10, 107, 102)}
READABLE = 4.5  # WCAG 2 AA
# Side by side: a window cannot be as narrow as a phone.
FRAMES = "<!doctype html><title>-</title><body style='margin:0;display:flex'>"
# What it finds goes into the title. Text behind the edge of a box that
# scrolls is neither cut nor in the way.
PROBE = """<script>
const luminance = (words) => {
  const [r, g, b] = words.match(/[\\d.]+/g).slice(0, 3).map((v) => {
    v /= 255;
    return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const look = (frame) => {
  const page = frame.contentDocument, root = page.documentElement;
  const style = (e) => frame.contentWindow.getComputedStyle(e);
  const paper = luminance(style(page.body).backgroundColor);
  const texts = [], cut = [], small = [], faint = [];
  const walk = page.createTreeWalker(page.body, NodeFilter.SHOW_TEXT);
  for (let node; (node = walk.nextNode());) {
    if (!node.data.trim()) continue;
    const owner = node.parentElement, looks = style(owner);
    const scroller = owner.closest(".scroll");
    const box = scroller && scroller.getBoundingClientRect();
    const range = page.createRange();
    range.selectNodeContents(node);
    const drawn = owner.closest("svg");
    const ink = luminance(drawn ? looks.fill : looks.color);
    const [low, high] = [ink, paper].sort((a, b) => a - b);
    if ((high + 0.05) / (low + 0.05) < %(readable)s) faint.push(node.data);
    if (parseFloat(looks.fontSize) < 12) small.push(node.data);
    for (const rect of range.getClientRects()) {
      if (box && rect.right > box.right - 1) continue;
      if (rect.left < -0.5 || rect.right > root.clientWidth + 0.5)
        cut.push(node.data);
      for (let e = owner; e && e !== page.body; e = e.parentElement)
        if (style(e).overflowX === "hidden" || style(e).overflowX === "clip") {
          const edge = e.getBoundingClientRect();
          if (rect.right > edge.right + 1 || rect.left < edge.left - 1)
            cut.push(node.data);
        }
      texts.push([rect, node]);
    }
  }
  const overlaps = [];
  texts.forEach(([a, one], place) => texts.slice(0, place).forEach(
    ([b, other]) => {
      const wide = Math.min(a.right, b.right) - Math.max(a.left, b.left);
      const tall = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
      // Line boxes are taller than letters.
      if (one !== other && wide > 1 && tall > 4)
        overlaps.push([one.data, other.data]);
    }));
  return {
    texts: texts.length,
    beyond: root.scrollWidth - root.clientWidth,
    bottom: root.scrollHeight,
    scrolling: [...page.querySelectorAll(".scroll")].filter(
      (e) => e.scrollWidth > e.clientWidth).length,
    cut, small, faint, overlaps,
    ran: frame.contentWindow.pwned !== undefined,
  };
};
onload = () => setTimeout(() => {
  document.title = JSON.stringify([...document.querySelectorAll("iframe")]
    .map(look));
}, 300);
</script>"""


@pytest.fixture(scope="module")
def frames(tmp_path_factory):
    """Results with codes and without, each at both widths, in one page."""
    folder = tmp_path_factory.mktemp("pages")
    for name in ("codes", "hash"):
        (folder / name).mkdir()
    make_results(folder / "codes")
    make_results(
        folder / "hash", {"user": hashed()}, "hash",
        curve=[], history={}, score=None,
    )  # fmt: skip
    boxes = "".join(
        f"<iframe src={name}/{write_html(folder / name).name} style='border:0;"
        f"flex:none;width:{width}px;height:{HEIGHT}px'></iframe>"
        for name in ("codes", "hash")
        for width in WIDTHS
    )
    path = folder / "frames.html"
    path.write_text(FRAMES + boxes + PROBE % {"readable": READABLE})
    return path


def scheme_flag(scheme):
    return f"--blink-settings=preferredColorScheme={SCHEMES[scheme][0]}"


@pytest.mark.parametrize("scheme", SCHEMES)
def test_text_is_whole_readable_and_apart(frames, scheme):
    dumped = chromium.dump(frames.as_uri(), scheme_flag(scheme))
    title = re.search(r"<title>(\[.*?\])</title>", dumped, re.DOTALL)
    assert title, f"the page did not load: {dumped[:500]}"
    for width, found in zip(
        2 * WIDTHS, json.loads(html.unescape(title[1])), strict=True
    ):
        assert found["texts"] > 40
        assert found["bottom"] <= HEIGHT, "raise HEIGHT"
        assert found["beyond"] <= 0, f"{found['beyond']} px too wide"
        for fault in ("cut", "overlaps", "small", "faint"):
            assert not found[fault], (width, fault)
        assert not found["ran"], "a name in the data ran as a script"
        if width == min(WIDTHS):
            assert found["scrolling"], "tables scroll in their own box"


@pytest.mark.parametrize("scheme", SCHEMES)
def test_pictures(frames, scheme, tmp_path):
    path = tmp_path / "page.png"
    chromium.screenshot(
        frames.as_uri(), path, sum(WIDTHS), 1200, scheme_flag(scheme)
    )
    picture = tf.io.decode_png(path.read_bytes(), channels=3).numpy()
    assert picture.shape == (1200, sum(WIDTHS), 3)
    for side in (picture[:, : WIDTHS[0]], picture[:, WIDTHS[0] :]):
        colours, counts = np.unique(
            side.reshape(-1, 3), axis=0, return_counts=True
        )
        most = colours[counts.argmax()]
        np.testing.assert_array_equal(most, SCHEMES[scheme][1])
        accent = (side == ACCENTS[scheme]).all(axis=-1)
        assert accent.sum() > 500  # the headline and the compressed bar
