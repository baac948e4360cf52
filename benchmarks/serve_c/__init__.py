"""A C program that serves a SavedModel, and what runs it from Python."""

from benchmarks.serve_c.build import build
from benchmarks.serve_c.requests import write_answers, write_requests
from benchmarks.serve_c.server import Server

__all__ = ["Server", "build", "write_answers", "write_requests"]
