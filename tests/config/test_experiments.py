"""Recipes: one for every detector, for any corpus, and each is what it says."""

import itertools

import pytest

from bgb.config.compose import compose, config_dir
from bgb.config.model import MODELS
from bgb.config.schema import TrainConfig

# Not the recipe of a detector: trials, the equal-time sweep, and recipes of a corpus.
OTHERS = {"smoke", "helsinki", "tusz_a100_100ep", "detectors_on_two_cores"}
RECIPES = sorted({path.stem for path in (config_dir() / "experiment").glob("*.yaml")} - OTHERS)
NO_RECIPE = {"braindecode"}  # models of many papers


@pytest.mark.parametrize(
    ("recipe", "corpus"),
    list(itertools.product(RECIPES, ["tusz", "synthetic", "siena", "chbmit"])),
)
def test_recipe_composes_with_any_corpus(recipe: str, corpus: str) -> None:
    config = compose("train", [f"+experiment={recipe}", f"data={corpus}"])
    assert isinstance(config, TrainConfig)
    assert config.data.corpus.name == corpus
    plain = compose("train", [f"data={corpus}"])
    assert (config.data.root, config.title, config.infra) == (plain.data.root, None, None)


def test_every_detector_has_a_recipe() -> None:
    models = {compose("train", [f"+experiment={recipe}"]).model.name for recipe in RECIPES}
    assert models == set(MODELS) - NO_RECIPE


@pytest.mark.parametrize("recipe", RECIPES)
def test_values_of_a_recipe_are_commented(recipe: str) -> None:
    text = (config_dir() / "experiment" / f"{recipe}.yaml").read_text()
    assert text.startswith("# @package _global_\n# ")
    assert all(len(line) <= 100 for line in text.splitlines())


def test_code_of_seizure_transformer_contradicts_its_paper_where_it_says_so() -> None:
    paper, code = (
        compose("train", [f"+experiment=seizure_transformer{which}"]) for which in ("", "_code")
    )
    assert (paper.data.batch_size, code.data.batch_size) == (256, 86)
    assert (paper.optimizer.lr, code.optimizer.lr) == (1e-3, 1e-4)
    assert (paper.data.sampling.full, code.data.sampling.full) == (0.3, 0.7)
    assert (paper.frontend.montage, code.frontend.montage) == ("average", "double_banana")
    assert paper.optimizer.name == code.optimizer.name == "radam"
    assert paper.postprocess == code.postprocess
