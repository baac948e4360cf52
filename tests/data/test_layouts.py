import numpy as np
import pyarrow as pa
import pytest

from mec_tf.data import TemporalSplit, avazu, avazu_x1, criteo, criteo_x1
from mec_tf.data.layouts import hour_of_day, weekday

RNG = np.random.default_rng(0)
AVAZU_HEADER = (
    "id,click,hour,C1,banner_pos,site_id,site_domain,site_category,app_id,"
    "app_domain,app_category,device_id,device_ip,device_model,device_type,"
    "device_conn_type,C14,C15,C16,C17,C18,C19,C20,C21"
)


def criteo_lines(n, separator, missing):
    for _ in range(n):
        numbers = map(str, RNG.integers(-2, 50, 13))
        ids = (f"{i:08x}" for i in RNG.integers(0, 9, 26) * 0x1234567)
        cells = [
            "" if missing and RNG.random() < 0.2 else cell
            for cell in (*numbers, *ids)
        ]
        yield separator.join([str(RNG.integers(0, 2)), *cells])


def avazu_lines(n):
    for i in range(n):
        hour = f"1410{21 + i * 10 // n}{i % 24:02}"
        text = (f"{v:08x}" for v in RNG.integers(0, 9, 9) * 0x7654321)
        low = RNG.integers(0, 5, 2)
        rest = RNG.integers(0, 5, 10)
        yield ",".join(
            map(str, (10**18 + i, RNG.integers(0, 2), hour, *low, *text, *rest))
        )


def write(path, lines):
    path.write_text("\n".join(lines) + "\n")
    return path


def test_criteo(tmp_path):
    path = write(tmp_path / "train.txt", criteo_lines(500, "\t", True))
    log = criteo(path, cache_dir=tmp_path / "c", progress=False)
    assert log.name == "criteo"
    assert log.schema.categorical == tuple(f"C{i}" for i in range(1, 27))
    assert log.schema.numeric == tuple(f"I{i}" for i in range(1, 14))
    assert sum(log.num_rows(s) for s in log.splits) == 500
    # "00000000" is an id, not the number 0.
    assert "00000000" in log.vocabularies["C26"].values
    assert log.counts["C1"][0] > 0
    assert log.numeric["I1"].missing > 0
    features, _ = next(iter(log.dataset("train", 400)))
    assert np.isnan(features["I1"]).sum() == log.numeric["I1"].missing
    assert len(features) == 39


def test_avazu(tmp_path):
    path = write(tmp_path / "train.csv", [AVAZU_HEADER, *avazu_lines(1000)])
    log = avazu(
        path,
        cache_dir=tmp_path / "c",
        split=TemporalSplit("hour"),
        progress=False,
    )
    assert "id" not in log.schema.features
    assert "hour" not in log.schema.features
    assert len(log.schema.features) == 23
    assert sorted(log.vocabularies["hour_of_day"].values) == list(range(24))
    assert [log.num_rows(s) for s in log.splits] == pytest.approx(
        [800, 100, 100], abs=8
    )
    # 2014-10-21 to 2014-10-28 train: a Tuesday and the whole week after it.
    counts = dict(
        zip(
            log.vocabularies["weekday"].values,
            log.counts["weekday"][1:],
            strict=True,
        )
    )
    assert sorted(counts) == list(range(7))
    assert counts[1] > 1.5 * counts[0]


def test_parts_of_the_hour():
    hours = pa.array(["14102100", "14102623", None])
    assert hour_of_day(hours).to_pylist() == [0, 23, None]
    assert weekday(hours).to_pylist() == [1, 6, None]


def test_criteo_x1(tmp_path):
    names = ["label", *(f"I{i}" for i in range(1, 14))]
    names += [f"C{i}" for i in range(1, 27)]
    for name, n in (("train", 70), ("valid", 20), ("test", 10)):
        lines = (
            ",".join(
                [
                    str(i % 2),
                    *(f"{x:.4f}" for x in RNG.random(13)),
                    *map(str, RNG.integers(0, 5, 26)),
                ]
            )
            for i in range(n)
        )
        write(tmp_path / f"{name}.csv", [",".join(names), *lines])
    log = criteo_x1(tmp_path, cache_dir=tmp_path / "c", progress=False)
    assert [log.num_rows(s) for s in log.splits] == [70, 20, 10]
    assert log.vocabularies["C1"].key_dtype == "int64"
    assert len(log.schema.features) == 39
    assert log.labels("test").tolist() == [0, 1] * 5


def test_avazu_x1(tmp_path):
    header = ",".join(["label", *(f"feat_{i}" for i in range(1, 23))])
    for name, n in (("train", 70), ("valid", 20), ("test", 10)):
        lines = (
            ",".join(map(str, (i % 2, *RNG.integers(0, 5, 22))))
            for i in range(n)
        )
        write(tmp_path / f"{name}.csv", [header, *lines])
    log = avazu_x1(tmp_path, cache_dir=tmp_path / "c", progress=False)
    assert [log.num_rows(s) for s in log.splits] == [70, 20, 10]
    assert len(log.schema.features) == 22


def test_x1_names_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="train.csv"):
        avazu_x1(tmp_path, cache_dir=tmp_path / "c", progress=False)
