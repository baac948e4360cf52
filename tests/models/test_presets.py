import pytest

from mec_tf.models import BACKBONES, PAPER_SETTINGS

TOWERS = {
    "deepfm": (300, 300, 300),
    "pnn": (300, 300, 300),
    "dcnv2": (500, 500, 500),
    "gdcn": (1024, 512, 256),
    "fibinet": (500, 500, 500),
}


def test_every_backbone_of_the_paper_has_settings():
    assert set(PAPER_SETTINGS) == set(TOWERS) <= set(BACKBONES)


@pytest.mark.parametrize("name", TOWERS)
def test_models_take_the_settings(name):
    model = BACKBONES[name]({"a": 5, "b": 4}, **PAPER_SETTINGS[name])
    config = model.get_config()
    assert config["embedding_dim"] == 40
    assert tuple(config["hidden_units"]) == TOWERS[name]
    assert config.get("num_cross_layers", 3) == 3
