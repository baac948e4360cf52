"""Compiles the C program against the TensorFlow wheel."""

import os
import pathlib
import subprocess

import tensorflow as tf

SOURCES = sorted(pathlib.Path(__file__).parent.glob("*.c"))


def build(folder: str | os.PathLike) -> pathlib.Path:
    """Compiles the sources by gcc; returns the program in `folder`.

    Raises:
        RuntimeError: if gcc is missing or fails.
    """
    program = pathlib.Path(folder) / "serve"
    libraries = tf.sysconfig.get_lib()
    command = [
        "gcc", "-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-pthread",
        f"-I{tf.sysconfig.get_include()}", *map(str, SOURCES),
        "-o", str(program),
        f"-L{libraries}", "-l:libtensorflow_cc.so.2",
        "-l:libtensorflow_framework.so.2", f"-Wl,-rpath,{libraries}",
    ]  # fmt: skip
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise RuntimeError("gcc is needed to compile serve_c") from error
    if done.returncode:
        raise RuntimeError(f"gcc failed on serve_c:\n{done.stderr}")
    return program
