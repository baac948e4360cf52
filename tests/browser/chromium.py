"""Chromium without a window: what a page comes to, and how it looks."""

import os
import shutil
import subprocess

NAMES = ("chromium", "chromium-browser", "google-chrome")


def run(url, *flags):
    """Opens a page, lets it settle, and returns what is printed.

    The name falls back on the first one, for an error that says what lacks.
    """
    found = filter(None, map(shutil.which, NAMES))
    return subprocess.run(
        [
            next(found, NAMES[0]),
            "--headless",
            "--no-sandbox",  # CI runs as root
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--hide-scrollbars",
            "--allow-file-access-from-files",
            "--virtual-time-budget=8000",
            *flags,
            os.fspath(url),
        ],
        capture_output=True,
        text=True,
        timeout=180,
        check=True,
    ).stdout


def dump(url, *flags):
    """The page after its scripts ran, as HTML."""
    return run(url, "--dump-dom", *flags)


def screenshot(url, path, width, height, *flags):
    """Writes a PNG of the page."""
    size = f"--window-size={width},{height}"
    run(url, f"--screenshot={path}", size, *flags)
