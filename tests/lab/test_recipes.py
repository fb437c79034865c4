"""Recipes with some of their training corpora alone."""

import pytest
from typer.testing import CliRunner

from ser_core.cli import app
from ser_core.errors import CorpusError
from ser_lab.train.recipes import RECIPES, find_recipe, restrict_corpora
from tests.conftest import ROOT


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_of_fewer_corpora_holds_out_their_speakers_alone(name: str) -> None:
    recipe = find_recipe(name)
    chosen = restrict_corpora(recipe, ["tess", "ravdess"])
    assert chosen.corpora == tuple(c for c in recipe.corpora if c in ("tess", "ravdess"))
    assert {speaker.partition("/")[0] for speaker in chosen.split.test} == {"ravdess"}
    assert restrict_corpora(recipe, recipe.corpora) == recipe


def test_the_shares_of_corpora_left_out_are_no_part_of_the_settings() -> None:
    chosen = restrict_corpora(find_recipe("accurate"), ["crema-d", "nemo"])
    assert list(chosen.settings["shares"]) == ["crema-d", "nemo"]


def test_corpora_that_do_not_fit_are_refused() -> None:
    with pytest.raises(CorpusError, match="emo-db is not among"):
        restrict_corpora(find_recipe("accurate"), ["ravdess", "emo-db"])
    with pytest.raises(CorpusError, match="ravdess or crema-d, too"):
        restrict_corpora(find_recipe("accurate"), ["nemo", "tess"])


def test_a_table_and_corpora_exclude_each_other() -> None:
    table = str(ROOT / "tests" / "golden" / "features.csv")
    refused = CliRunner().invoke(app, ["train", "lstm", "--data", table, "--corpus", "ravdess"])
    assert refused.exit_code == 2
    assert "leave out --corpus" in refused.stderr
