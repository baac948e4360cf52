r"""Reads thousands of fuzzed logs; each must end in the truth or one error.

    python -m benchmarks.reliability.data \
        --output benchmarks/results/reliability_data.json

Each input ends in a log that a second, simple reader agrees with, or in one
`ValueError` (`FileNotFoundError` where there is no file) of one line that names
the file, and row and column where these are known. No other exception, no
hang, no crash, nothing left behind. Some also go through `mec-tf compress`, up
to where reading ends.
"""

from __future__ import annotations

import collections
import contextlib
import io
import itertools
import multiprocessing
import pathlib
import re
import resource
import shutil
import signal
import tempfile
import time
from typing import Any
from unittest import mock

import numpy as np
from absl import app, flags

import mec_tf.data
from benchmarks.reliability import (
    data_files,
    data_oracle,
    data_parquet,
    data_text,
)
from benchmarks.reliability.data_case import Case
from mec_tf.data.survey import Survey

FLAGS = flags.FLAGS
flags.DEFINE_string("output", None, "JSON file to write.")
flags.DEFINE_integer("inputs", 5130, "Fuzzed inputs.")
flags.DEFINE_integer("cli_inputs", 570, "Of them, how many by the command too.")
flags.DEFINE_integer("first_seed", 0, "Of the first input.")
flags.DEFINE_integer("limit", 60, "Seconds for an input.")

KINDS = [
    (module.__name__.rpartition("data_")[2], kind)
    for module in (data_text, data_parquet, data_files)
    for kind in module.KINDS
]
# Errors of the log as a whole, whichever its files.
_OF_THE_WHOLE = re.compile(
    r"^(`split` must leave|The label '|A column of one value|`min_count`"
    r"|A column must have one role|A schema must name|`delimiter` must)"
)
_MAX_MESSAGE = 1500


class TooSlow(BaseException):
    """An input took longer than its limit."""


class Failure(Exception):
    """An input did not end as it must."""


def make(seed: int, folder: pathlib.Path) -> tuple[str, Case]:
    """The input of a seed, its files written in an empty folder."""
    module, kind = KINDS[seed % len(KINDS)]
    return f"{module}.{kind.__name__}", kind(
        np.random.default_rng(seed), folder
    )


def run(seed: int, limit: int, cli: bool = False) -> dict[str, Any]:
    """Makes and reads one input; says how it ended."""
    row = {"seed": seed, "kind": "", "ending": "failure", "detail": ""}
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="reliability") as name:
        folder = pathlib.Path(name, "data")
        folder.mkdir()
        row["kind"], case = make(seed, folder)
        try:
            with _time_limit(limit):
                row["ending"], row["detail"] = read(case, folder)
                if cli and _fits_command(case):
                    by_command(case, folder.parent, row["ending"])
                    row["command"] = True
        except TooSlow:
            row["detail"] = f"took more than {limit} seconds"
            row["ending"] = "failure"
        except Failure as failure:
            row["detail"] = str(failure)[:500]
            row["ending"] = "failure"
    row["seconds"] = round(time.monotonic() - started, 3)
    return row


def read(case: Case, folder: pathlib.Path) -> tuple[str, str]:
    """Reads an input; "result" or "error", and the message.

    Raises:
        Failure: If it does not end as it must.
    """
    before = _listing(folder)
    try:
        log = _read(case, folder.parent / "cache")
    except (ValueError, FileNotFoundError) as error:
        _check_error(error, case)
        if _listing(folder.parent) - {"data"}:
            raise Failure("something was left behind") from error
        ending, detail = "error", str(error)
    except Exception as error:
        raise Failure(f"{type(error).__name__} leaked: {error}") from error
    else:
        _check_result(log, case)
        ending, detail = "result", ""
        shutil.rmtree(folder.parent / "cache", ignore_errors=True)
    if case.wants not in (None, ending):
        raise Failure(f"a {case.wants} was due, not this {ending}: {detail}")
    if case.between is None and _listing(folder) != before:
        raise Failure("the folder of the data was changed")
    return ending, detail


def _read(case: Case, cache: pathlib.Path) -> mec_tf.data.Log:
    if case.reader == "interactions":
        return mec_tf.data.interactions(case.paths, **case.options)
    check = Survey.check

    def between(survey: Survey) -> None:
        check(survey)
        if case.between:
            case.between()

    with mock.patch.object(Survey, "check", between):
        return mec_tf.data.read_log(
            case.paths, cache_dir=cache, progress=False, **case.options
        )


def _check_error(error: Exception, case: Case) -> None:
    text = str(error)
    if isinstance(error, UnicodeError) or "Arrow" in type(error).__name__:
        raise Failure(f"{type(error).__name__} leaked: {text}")
    if len(text.splitlines()) != 1 or len(text) > _MAX_MESSAGE:
        raise Failure(f"not one line: {text[:200]!r}, {len(text)} characters")
    paths = case.paths if isinstance(case.paths, list) else [case.paths]
    names = {pathlib.Path(path).name[:40].split("\0")[0] for path in paths}
    names |= {file.name for file in _files(case)}
    if not _OF_THE_WHOLE.match(text) and not any(n in text for n in names):
        raise Failure(f"names no file: {text}")
    if case.wants == "error":
        lacking = [name for name in case.names if name not in text]
        if lacking:
            raise Failure(f"lacks {lacking}: {text}")


def _check_result(log: mec_tf.data.Log, case: Case) -> None:
    try:
        if case.reader == "interactions":
            negatives = case.options["negatives"]
            data_oracle.check_interactions(log, case.paths, negatives)
        else:
            options = case.options | {"paths": case.paths}
            data_oracle.check(log, _files(case), options)
            for split in log.splits:
                found = sum(map(len, log._rows[split].batches(7)))
                assert found == log.num_rows(split)
    except Exception as error:
        raise Failure(
            f"not what the file holds: {type(error).__name__}: {error}"
        ) from error


def _files(case: Case) -> list[pathlib.Path]:
    try:
        return data_oracle.files_of(case.paths)
    except (OSError, ValueError):
        return []


def _listing(folder: pathlib.Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@contextlib.contextmanager
def _time_limit(seconds: int):
    def stop(*_):
        raise TooSlow

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def _fits_command(case: Case) -> bool:
    return case.reader == "read_log" and case.between is None and not (
        case.options.keys() - {"label", "numeric", "drop", "delimiter"}
    )  # fmt: skip


def by_command(case: Case, folder: pathlib.Path, ending: str) -> None:
    """Reads an input by `mec-tf compress`, which then trains nothing.

    Raises:
        Failure: If it does not end as the reader does, in status 0 or in one
            line, status 2 and no output folder.
    """
    from mec_tf.cli import main

    paths = case.paths if isinstance(case.paths, list) else [case.paths]
    out = folder / "out"
    argv = ["mec-tf", "compress", "--output_dir", str(out), "--data"]
    argv += [*map(str, paths), f"--label={case.options['label']}"]
    for name in ("numeric", "drop"):
        if case.options.get(name):
            argv += [f"--{name}", *case.options[name]]
    if "delimiter" in case.options:
        argv.append(f"--delimiter={case.options['delimiter']}")
    errors = io.StringIO()
    with (
        contextlib.redirect_stderr(errors),
        contextlib.redirect_stdout(io.StringIO()),
        mock.patch("mec_tf.cli.compress.run_job"),
    ):
        status = main.main(main._parse(argv))
    # Without the progress bars.
    lines = re.split(r"[\r\n]+", errors.getvalue())
    lines = [line for line in lines if "mec-tf" in line or "Trace" in line]
    if status != (0 if ending == "result" else 2):
        raise Failure(f"the command ends in {status}: {lines}")
    if status and (
        len(lines) != 1 or not lines[0].startswith("mec-tf: error: ")
    ):
        raise Failure(f"the command says {lines}")
    if status and out.exists():
        raise Failure("the command leaves its output folder")
    shutil.rmtree(out, ignore_errors=True)


def _work(connection, seeds, limit: int, cli_every: int) -> None:
    for seed in seeds:
        cli = bool(cli_every) and seed // len(KINDS) % cli_every == 0
        connection.send(run(seed, limit, cli))
    usage = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    connection.send({"peak_rss": usage * 1024})


def run_all(seeds, limit: int, cli_every: int = 0):
    """Yields how each input ended; a crash ends a child process only."""
    context = multiprocessing.get_context("spawn")
    seeds = collections.deque(seeds)
    while seeds:
        here, there = context.Pipe()
        worker = context.Process(
            target=_work, args=(there, list(seeds), limit, cli_every)
        )
        worker.start()
        there.close()
        try:
            while True:
                # The first one waits for the imports.
                if not here.poll(2 * limit + 120):
                    worker.kill()
                    raise EOFError
                row = here.recv()
                yield row
                if "seed" not in row:
                    return
                seeds.popleft()
        except EOFError:
            worker.join()
            seed = seeds.popleft()
            with tempfile.TemporaryDirectory() as folder:
                kind = make(seed, pathlib.Path(folder))[0]
            yield {
                "seed": seed,
                "kind": kind,
                "ending": "failure",
                "detail": f"the process died or hung: {worker.exitcode}",
                "seconds": 0.0,
            }


def summary(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A row a kind of input, then one of all."""
    order = sorted(rows, key=lambda row: row["kind"])
    groups = [
        (kind, list(group))
        for kind, group in itertools.groupby(order, lambda row: row["kind"])
    ]
    return [
        {
            "kind": kind,
            "inputs": len(group),
            "results": sum(row["ending"] == "result" for row in group),
            "errors": sum(row["ending"] == "error" for row in group),
            "failures": sum(row["ending"] == "failure" for row in group),
            "by_command": sum(row.get("command", False) for row in group),
            "slowest_seconds": max(row["seconds"] for row in group),
        }
        for kind, group in [*groups, ("all", rows)]
    ]


def main(argv):
    from benchmarks.environment import write_rows

    del argv
    seeds = range(FLAGS.first_seed, FLAGS.first_seed + FLAGS.inputs)
    cli_every = FLAGS.inputs // FLAGS.cli_inputs if FLAGS.cli_inputs else 0
    rows, peak = [], 0
    for row in run_all(seeds, FLAGS.limit, cli_every):
        if "seed" not in row:
            peak = row["peak_rss"]
            continue
        rows.append(row)
        if row["ending"] == "failure":
            print(f"{row['seed']} {row['kind']}: {row['detail']}", flush=True)
        if len(rows) % 200 == 0:
            failures = sum(row["ending"] == "failure" for row in rows)
            print(f"{len(rows)} inputs, {failures} failures", flush=True)
    table = summary(rows)
    table[-1]["peak_rss"] = peak
    for row in table:
        print("  ".join(f"{value!s:<28}"[:28] for value in row.values()))
    failed = [row for row in rows if row["ending"] == "failure"]
    if FLAGS.output:
        write_rows(FLAGS.output, [*table, *failed])
    return 1 if failed else 0


if __name__ == "__main__":
    app.run(main)
