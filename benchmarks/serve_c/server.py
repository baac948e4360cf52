"""The C program as a process that waits for batch sizes."""

import contextlib
import json
import os
import subprocess
from typing import Any


class Server(contextlib.AbstractContextManager):
    """A process that has loaded a SavedModel, idle until it is asked.

    Several can be asked in turn, so that what slows the machine down slows
    each of them.

    Args:
        program: what `build` compiled.
        model: folder of the SavedModel.
        requests: what `write_requests` wrote.
        threads: threads that send requests.
        seconds: how long each measurement takes.
        session_threads: threads of TensorFlow. Default: its own choice.
    """

    def __init__(
        self,
        program: str | os.PathLike,
        model: str | os.PathLike,
        requests: str | os.PathLike,
        *,
        threads: int = 1,
        seconds: float = 1.0,
        session_threads: int | None = None,
    ):
        options = ["--batch", "-"]
        options += ["--threads", str(threads), "--seconds", str(seconds)]
        if session_threads:
            options += ["--session_threads", str(session_threads)]
        self.process = subprocess.Popen(
            [os.fspath(program), os.fspath(model), os.fspath(requests)]
            + options,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
            text=True,
        )

    def measure(self, batch: int) -> dict[str, Any]:
        """Answers requests of `batch` rows; what the program prints.

        Raises:
            RuntimeError: if the program ended; it says why itself.
        """
        process = self.process
        assert process.stdin is not None and process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(f"{batch}\n")
            process.stdin.flush()
        line = process.stdout.readline()
        if not line:
            raise RuntimeError(f"serve ended with status {process.wait()}")
        return json.loads(line)

    def __exit__(self, *exception: object) -> None:
        self.process.communicate()
