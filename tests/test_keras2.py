"""Judges the Keras 2 half of the suite, which runs in a child process."""


def test_suite_passes_under_keras_2(keras2_child):
    exit_code, output = keras2_child.wait()
    print(output)  # pytest shows it when this test fails
    assert exit_code == 0, "the Keras 2 run failed; its output is below"
    counts = keras2_child.counts()
    assert counts is not None and counts["tests"] > 0
    assert counts["failures"] == counts["errors"] == counts["skipped"] == 0
