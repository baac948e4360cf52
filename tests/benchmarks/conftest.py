"""The C program, compiled once."""

import pytest

from benchmarks.serve_c import build


@pytest.fixture(scope="session")
def program(tmp_path_factory):
    return build(tmp_path_factory.mktemp("program"))
