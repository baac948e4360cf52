"""The results of a run as one HTML page."""

import os
import pathlib
from importlib import resources

from mec_tf.files import write_text
from mec_tf.report import sections
from mec_tf.report.markup import Markup, element, joined
from mec_tf.report.run_results import RunResults
from mec_tf.report.words import times
from mec_tf.version import __version__

PAGE = "report.html"


def write_html(folder: str | os.PathLike) -> pathlib.Path:
    """Writes `report.html` into an output directory.

    The page needs nothing but itself: no script, no other file, no network.

    Args:
        folder: what `mec-tf quickstart` or `mec-tf compress` wrote.

    Returns:
        The page's path.

    Raises:
        FileNotFoundError: if the folder holds no `report.json`.
        ArtifactError: if a file in it is damaged or of another kind.
        OSError: if the page cannot be written.

    Example:
        >>> mec_tf.report.write_html("out")
        PosixPath('out/report.html')
    """
    results = RunResults.load(folder)
    path = results.folder / PAGE
    write_text(path, render(results))
    return path


def render(results: RunResults) -> str:
    """The page as text."""
    report = results.report
    title = f"{report['dataset']}, {times(report['ratio'])} smaller"
    style = resources.files("mec_tf.report").joinpath("style.css")
    head = element(
        "head",
        # No slash: HTML has void elements.
        Markup('<meta charset="utf-8">'),
        Markup(
            '<meta name="viewport" '
            'content="width=device-width, initial-scale=1">'
        ),
        element("title", title),
        element("style", Markup(style.read_text(encoding="ascii"))),
    )
    body = element(
        "body",
        element(
            "main",
            sections.headline(results),
            sections.scores(results),
            sections.auc_against_bytes(results),
            sections.tables(results),
            sections.usage(results),
            sections.distortion(results),
            sections.training(results),
            sections.settings(results),
            element("footer", f"Written by mec-tf {__version__}"),
        ),
    )
    return (
        joined(
            Markup("<!DOCTYPE html>\n"), element("html", head, body, lang="en")
        )
        + "\n"
    )
