"""A worker process: trains and compresses a small model, writes the results.

Run by `test_workers.py`; `TF_CONFIG` says which worker it is.
"""

import sys

import numpy as np
import tensorflow as tf


def main(output: str) -> None:
    # Before any other op of TensorFlow.
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    from tests.distributed import test_workers

    np.savez(output, **test_workers.results(strategy))


if __name__ == "__main__":
    main(sys.argv[1])
