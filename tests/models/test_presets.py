import pytest

from mec_tf.models import BACKBONES, PAPER_SETTINGS

TOWERS = {
    "deepfm": (300, 300, 300),
    "pnn": (300, 300, 300),
    "dcnv2": (500, 500, 500),
    "gdcn": (1024, 512, 256),
    "fibinet": (500, 500, 500),
}


def test_every_backbone_has_settings():
    assert set(PAPER_SETTINGS) == set(BACKBONES)
    assert {*TOWERS, "dlrm", "din"} == set(BACKBONES)


@pytest.mark.parametrize("name", TOWERS)
def test_models_take_the_settings(name):
    model = BACKBONES[name]({"a": 5, "b": 4}, **PAPER_SETTINGS[name])
    config = model.get_config()
    assert config["embedding_dim"] == 40
    assert tuple(config["hidden_units"]) == TOWERS[name]
    assert config.get("num_cross_layers", 3) == 3


def test_dlrm_as_on_criteo():
    model = BACKBONES["dlrm"](
        {"a": 5}, {"x": (0.0, 1.0)}, **PAPER_SETTINGS["dlrm"]
    )
    assert model.bottom.units == (512, 256, 64, 16)
    assert model.tower.units == (512, 256)


def test_din_as_on_its_authors_ads():
    model = BACKBONES["din"](
        {"item": 5, "seen": 5},
        sequences={"seen": "item"},
        **PAPER_SETTINGS["din"],
    )
    assert model.tower.units == (200, 80)
    assert model.embedding_dim == 12
    assert model.attention_units == (36,)
