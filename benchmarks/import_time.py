"""How long `import mec_tf` takes beyond TensorFlow's own import.

    python -m benchmarks.import_time --output import_time.json

Each of `--runs` fresh processes imports TensorFlow and its Keras, and then
`mec_tf`. `tensorflow_s` and `mec_tf_s` are medians of wall-clock seconds,
`mec_tf_cpu_s` of seconds that a processor spent, which other work on the
machine changes little; the first run, which fills the caches of files, does not
count. Fails where `mec_tf_cpu_s` is more than `--most_share` of TensorFlow's: a
share within one run says the same on a slow machine.
"""

import json
import os
import pathlib
import statistics
import subprocess
import sys

from absl import app, flags

from benchmarks.environment import write_rows

FLAGS = flags.FLAGS
ROOT = pathlib.Path(__file__).parents[1]
CHILD = """
import json, time
clocks = time.perf_counter, time.process_time
start = [clock() for clock in clocks]
import tensorflow as tf
tf.keras.layers
middle = [clock() for clock in clocks]
import mec_tf
end = [clock() for clock in clocks]
print(json.dumps({"tensorflow_s": middle[0] - start[0],
                  "tensorflow_cpu_s": middle[1] - start[1],
                  "mec_tf_s": end[0] - middle[0],
                  "mec_tf_cpu_s": end[1] - middle[1]}))
"""


def define_flags() -> None:
    flags.DEFINE_integer("runs", 7, "Processes.")
    flags.DEFINE_float(
        "most_share", 0.15, "Share of TensorFlow's import that mec_tf may take."
    )
    flags.DEFINE_string("output", None, "Result file, JSON.")


def once() -> dict[str, float]:
    """Seconds of one process."""
    done = subprocess.run(
        [sys.executable, "-c", CHILD],
        env={"TF_CPP_MIN_LOG_LEVEL": "3", **os.environ},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def measure(runs: int) -> dict[str, float]:
    """Medians of several processes."""
    once()
    found = [once() for _ in range(runs)]
    medians = {
        key: round(statistics.median(row[key] for row in found), 3)
        for key in found[0]
    }
    return {**medians, "runs": runs}


def main(argv: list[str]) -> None:
    del argv
    row = measure(FLAGS.runs)
    print(row)
    if FLAGS.output:
        write_rows(FLAGS.output, [row])
    if row["mec_tf_cpu_s"] > FLAGS.most_share * row["tensorflow_cpu_s"]:
        raise SystemExit(
            f"`import mec_tf` takes more than {FLAGS.most_share:.0%} of "
            "TensorFlow's own import"
        )


if __name__ == "__main__":
    define_flags()
    app.run(main)
