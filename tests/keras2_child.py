"""The Keras 2 half of the suite, run in a process of its own."""

import os
import pathlib
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree


class Keras2Child:
    """Runs pytest under Keras 2 in a child process.

    Args:
        root: folder that holds `tests/`; the child runs there.
    """

    def __init__(self, root: pathlib.Path):
        self.root = root
        self._process: subprocess.Popen | None = None
        self._folder: tempfile.TemporaryDirectory | None = None

    def start(self) -> None:
        """Starts the child; does nothing if it was started already."""
        if self._process is not None:
            return
        self._folder = tempfile.TemporaryDirectory(prefix="mec_tf_keras2_")
        folder = pathlib.Path(self._folder.name)
        self._output = folder / "output.txt"
        self._junit = folder / "junit.xml"
        with self._output.open("w") as output:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "pytest",
                    f"--junitxml={self._junit}",
                    "--color=no",
                    "-p",
                    "no:cacheprovider",
                ],
                cwd=self.root,
                env={**os.environ, "TF_USE_LEGACY_KERAS": "1"},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def wait(self) -> tuple[int, str]:
        """Waits for the child's end; returns its exit code and its output."""
        assert self._process is not None, "start() comes first"
        exit_code = self._process.wait()
        return exit_code, self._output.read_text(errors="replace")

    def counts(self) -> dict[str, int] | None:
        """Numbers of `tests`, `failures`, `errors` and `skipped`.

        None as long as the child has not finished a run.
        """
        if self._process is None or not self._junit.exists():
            return None
        suites = ElementTree.parse(self._junit).getroot().iter("testsuite")
        totals = dict.fromkeys(("tests", "failures", "errors", "skipped"), 0)
        for suite in suites:
            for key in totals:
                totals[key] += int(suite.get(key, 0))
        return totals

    def stop(self) -> None:
        """Ends the child if it still runs and removes its files."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        if self._folder is not None:
            self._folder.cleanup()
        self._process = self._folder = None
