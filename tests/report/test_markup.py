"""Data stays data in HTML and in Markdown."""

from mec_tf.report.markdown import markdown_table
from mec_tf.report.markup import Markup, element, escape
from mec_tf.report.words import short_names, size


def test_everything_but_markup_is_escaped():
    inner = element("b", "<i>", title='"&"')
    assert inner == '<b title="&quot;&amp;&quot;">&lt;i&gt;</b>'
    assert element("p", inner, " & ", 3) == f"<p>{inner} &amp; 3</p>"
    assert isinstance(inner, Markup)
    assert escape("\0\ud800a") == "\ufffd\ufffda"
    assert element("a", class_="x", href=None) == '<a class="x"></a>'


def test_markdown_cells_are_plain():
    table = markdown_table(("name", "n", "how"), [("a|b\n`c`<i>", 3, "*x*")])
    assert table.splitlines() == [
        "| name | n | how |",
        "| --- | ---: | --- |",
        r"| a\|b \`c\`&lt;i&gt; | 3 | \*x\* |",
    ]


def test_names_and_sizes():
    assert short_names(["a/b/c", "a/b/d/e"]) == {"a/b/c": "c", "a/b/d/e": "d/e"}
    assert short_names(["a/c"]) == {"a/c": "c"}
    assert short_names(["a", "b/c"]) == {"a": "a", "b/c": "b/c"}
    assert [size(n) for n in (0, 656, 999_600, 907_332, 45_516_888)] == [
        "0 B", "656 B", "1 MB", "907 kB", "45.5 MB",
    ]  # fmt: skip
