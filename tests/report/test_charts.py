"""Axes, and labels that keep out of each other's way."""

import math

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from mec_tf.report import charts
from mec_tf.report.charts import Mark, bars, linear_axis, log_axis
from mec_tf.report.words import size


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        ([0.7008], ["0.700", "0.701", "0.702"]),
        ([0.5, 0.9], ["0.5", "0.6", "0.7", "0.8", "0.9"]),
        ([3.0, 40.0], ["0", "10", "20", "30", "40"]),
    ],
)
def test_round_ticks(values, labels):
    axis = linear_axis(values, least=0.003)
    assert [label for _, label in axis.ticks] == labels
    for value in values:
        assert 0 < axis.share(value) < 1


def test_bytes_in_powers_of_ten():
    axis = log_axis([45.5e6, 227e3], size)
    assert [label for _, label in axis.ticks] == [
        "300 kB", "1 MB", "3 MB", "10 MB", "30 MB",
    ]  # fmt: skip
    assert len(log_axis([1, 1e12], size).ticks) <= 5
    assert log_axis([5000], size).ticks


@hypothesis.given(
    st.lists(
        st.tuples(st.floats(1e3, 1e9), st.floats(0.5, 0.99)),
        min_size=1,
        max_size=6,
    ),
    st.integers(charts.WIDTH, 1500),
)
def test_labels_overlap_at_no_width(points, width):
    """The first mark's label is always there."""
    x_axis = log_axis([x for x, _ in points], size)
    y_axis = linear_axis([y for _, y in points], 0.003)
    marks = [
        Mark(math.log10(x), y, f"{number * 25}×", "other")
        for number, (x, y) in enumerate(points)
    ]
    placed = charts._placed(marks, x_axis, y_axis)
    assert placed[0][0] == marks[0]
    boxes = []
    for mark, (dx, dy, anchor) in placed:
        x = width * x_axis.share(mark.x) + dx
        y = charts.HEIGHT * (1 - y_axis.share(mark.y)) + dy
        wide = charts.LETTER * len(mark.label)
        left = x - wide * {"start": 0, "middle": 0.5, "end": 1}[anchor]
        assert left >= -1e-6 and left + wide <= width + 8 + 1e-6
        boxes.append((left, y - 11, left + wide, y + 3))
    for place, box in enumerate(boxes):
        assert not any(charts._overlap(box, b) for b in boxes[:place])


def test_bars_show_dead_codes():
    drawn = bars([0.5, 0.0, 0.3, 0.2], "use")
    assert drawn.count("<rect") == 4 and drawn.count('class="dead"') == 1
    assert 'y="0.00" width="0.88" height="100.00"' in drawn
    assert 'y="40.00" width="0.88" height="60.00"' in drawn
    assert 'y1="50.00%"' in drawn  # an equal share is half of the largest
    many = bars(np.full(1000, 1e-3), "use")
    assert many.count("<rect") == charts.MOST_BARS
