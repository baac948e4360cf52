"""Fault injection, fuzzing and long runs; each module is a command.

`python -m benchmarks.reliability.<topic> --output FILE.json`. The test suite
runs the same functions with few cases.
"""
