"""Threads that send requests to a loaded SavedModel from Python.

    python -m benchmarks.reliability.load_client --model DIR --requests FILE

Prints JSON lines as `serve --load` does. With `--answers FILE` it writes what
one thread is answered, of the client and of TensorFlow, instead.
"""

import json
import pathlib
import random
import re
import threading
import time
from collections.abc import Callable

import numpy as np
import tensorflow as tf
from absl import app, flags

FLAGS = flags.FLAGS
SAMPLES = 100  # of memory, over the time asked for


def define_flags() -> None:
    flags.DEFINE_string("model", None, "SavedModel.", required=True)
    flags.DEFINE_string("requests", None, "Inputs, .npz.", required=True)
    flags.DEFINE_string("answers", None, "Answers: .npz, written or expected.")
    flags.DEFINE_list("shares", None, "size:share, of the requests sent.")
    flags.DEFINE_list("write", None, "Sizes of which to write the answers.")
    flags.DEFINE_integer("threads", 16, "That send requests.")
    flags.DEFINE_float("seconds", 600, "How long they do, at least.")
    flags.DEFINE_integer("least", 0, "Requests that they send, at least.")


def resident_bytes() -> int:
    """Memory of the process that no file backs."""
    status = pathlib.Path("/proc/self/status").read_text()
    (kilobytes,) = re.findall(r"^RssAnon:\s+(\d+) kB$", status, re.MULTILINE)
    return 1024 * int(kilobytes)


def answer(
    signature: Callable, inputs: dict[str, np.ndarray], start: int, size: int
) -> np.ndarray:
    """The answer to rows `start` to `start + size`."""
    feeds = {
        name: tf.constant(values[start : start + size])
        for name, values in inputs.items()
    }
    (found,) = signature(**feeds).values()
    return found.numpy()


def answer_all(
    signature: Callable, inputs: dict[str, np.ndarray], size: int
) -> np.ndarray:
    """Answers to all requests of one size, joined; the rest is left out."""
    rows = len(next(iter(inputs.values())))
    starts = range(0, rows - size + 1, size)
    return np.concatenate([answer(signature, inputs, s, size) for s in starts])


class Load:
    """Requests of several sizes, whose answers are known.

    Args:
        signature: of the loaded model.
        inputs: `{input: [rows]}`.
        answers: `{size: [rows, width]}`, what `answer_all` gave.
        shares: `{size: how many of its kind come among the others}`.
        threads: that send requests.
    """

    def __init__(
        self,
        signature: Callable,
        inputs: dict[str, np.ndarray],
        answers: dict[int, np.ndarray],
        shares: dict[int, int],
        threads: int,
    ):
        self.signature, self.inputs = signature, inputs
        self.answers, self.shares = answers, shares
        # One count a thread, so that no request waits for a lock.
        self.done, self.wrong = [0] * threads, [0] * threads
        self.errors: list[Exception] = []
        self.stop = threading.Event()

    def send(self, client: int) -> None:
        chance = random.Random(client)
        sizes, shares = list(self.shares), list(self.shares.values())
        try:
            while not self.stop.is_set():
                (size,) = chance.choices(sizes, shares)
                blocks = len(self.answers[size]) // size
                start = size * chance.randrange(blocks)
                found = answer(self.signature, self.inputs, start, size)
                expected = self.answers[size][start : start + size]
                same = found.tobytes() == expected.tobytes()
                self.wrong[client] += not same
                self.done[client] += 1
        except Exception as error:  # noqa: BLE001, any error is a finding
            self.errors.append(error)
            self.stop.set()

    def sample(self, started: float) -> None:
        row = {
            "seconds": round(time.monotonic() - started, 2),
            "requests": sum(self.done),
            "wrong": sum(self.wrong),
            "resident_bytes": resident_bytes(),
        }
        print(json.dumps(row), flush=True)

    def run(self, seconds: float, requests: int) -> None:
        """Keeps the threads busy so long, and until so many are answered.

        Raises: the first error of any.
        """
        clients = [
            threading.Thread(target=self.send, args=[place])
            for place in range(len(self.done))
        ]
        started = time.monotonic()
        for client in clients:
            client.start()
        while time.monotonic() - started < seconds or sum(self.done) < requests:
            if self.stop.wait(seconds / SAMPLES):
                break
            self.sample(started)
        self.stop.set()
        for client in clients:
            client.join()
        if self.errors:
            raise self.errors[0]
        self.sample(started)


def main(argv: list[str]) -> None:
    del argv
    if FLAGS.write:
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    signature = tf.saved_model.load(FLAGS.model).signatures["ids"]
    inputs = dict(np.load(FLAGS.requests))
    if FLAGS.write:
        found = {
            size: answer_all(signature, inputs, int(size))
            for size in FLAGS.write
        }
        np.savez(FLAGS.answers, **found)
        return
    answers = {int(k): v for k, v in np.load(FLAGS.answers).items()}
    pairs = (pair.split(":") for pair in FLAGS.shares)
    shares = {int(size): int(share) for size, share in pairs}
    load = Load(signature, inputs, answers, shares, FLAGS.threads)
    load.run(FLAGS.seconds, FLAGS.least)


if __name__ == "__main__":
    define_flags()
    app.run(main)
