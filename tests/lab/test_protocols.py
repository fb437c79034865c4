"""Folds: no speaker in two splits, every test clip once."""

from collections import Counter
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ser_core.errors import CorpusError, SerError
from ser_core.labels import LABELS
from ser_lab.data.protocols import (
    CREMA_D_SIX,
    PROTOCOLS,
    RANDOM_SIZES,
    STRANGERS,
    Fold,
    find_protocol,
)
from ser_lab.data.splits import CREMA_D_SPLIT, RAVDESS_5FOLDS, RAVDESS_FOLDS
from tests.lab.trees import ALL, full_table, write_tree

INDEPENDENT = sorted(name for name, p in PROTOCOLS.items() if not p.speakers_shared)
every_independent = pytest.mark.parametrize("name", INDEPENDENT)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    return full_table(write_tree(tmp_path_factory.mktemp("tree")))


def speakers(table: pd.DataFrame, rows: np.ndarray) -> set[str]:
    return set(table["speaker"].iloc[rows])


def corpora(table: pd.DataFrame, rows: np.ndarray) -> set[str]:
    return set(table["corpus"].iloc[rows])


def by_name(name: str, table: pd.DataFrame) -> dict[str, Fold]:
    return {fold.name: fold for fold in PROTOCOLS[name].folds(table)}


@every_independent
def test_no_speaker_crosses(name: str, table: pd.DataFrame) -> None:
    for fold in PROTOCOLS[name].folds(table):
        sides = [speakers(table, rows) for rows in (fold.train, fold.development, fold.test)]
        assert all(sides)
        assert not any(one & other for one, other in combinations(sides, 2))


@every_independent
def test_each_test_clip_is_tested_once(name: str, table: pd.DataFrame) -> None:
    tested = Counter(row for fold in PROTOCOLS[name].folds(table) for row in fold.test)
    assert set(tested.values()) == {1}


@every_independent
def test_folds_are_the_same_each_time(name: str, table: pd.DataFrame) -> None:
    for one, other in zip(*(PROTOCOLS[name].folds(table, seed=s) for s in (0, 1)), strict=True):
        for side in ("train", "development", "test"):
            np.testing.assert_array_equal(getattr(one, side), getattr(other, side))


@pytest.mark.parametrize("name", sorted(PROTOCOLS.keys() - {"random-split"}))
def test_the_scored_classes_are_those_of_the_protocol(name: str, table: pd.DataFrame) -> None:
    scored = {label for fold in PROTOCOLS[name].folds(table) for label in fold.classes}
    assert scored == set(PROTOCOLS[name].classes)


@pytest.mark.parametrize(
    ("name", "folds"), [("ravdess-6fold", RAVDESS_FOLDS), ("ravdess-5fold", RAVDESS_5FOLDS)]
)
def test_ravdess_folds_test_speech_of_their_actors_alone(
    name: str, folds: tuple[tuple[str, ...], ...], table: pd.DataFrame
) -> None:
    assert sorted(actor for fold in folds for actor in fold) == [f"{a:02d}" for a in range(1, 25)]
    for fold, actors in zip(PROTOCOLS[name].folds(table), folds, strict=True):
        assert speakers(table, fold.test) == {f"ravdess/{actor}" for actor in actors}
        assert corpora(table, fold.test) == corpora(table, fold.development) == {"ravdess"}
        assert len(fold.test) == len(actors) * len(LABELS)


def test_ravdess_development_is_one_man_and_one_woman(table: pd.DataFrame) -> None:
    for fold in PROTOCOLS["ravdess-6fold"].folds(table):
        developers = table.iloc[fold.development].drop_duplicates("speaker")
        assert sorted(developers["sex"]) == ["female", "male"]


def test_other_corpora_join_the_training_whole_and_song_without_held_out_actors(
    table: pd.DataFrame,
) -> None:
    fold = PROTOCOLS["ravdess-6fold"].folds(table)[0]
    learned = table.iloc[fold.train]["corpus"].value_counts()
    whole = table["corpus"].value_counts()
    assert learned["tess"] == whole["tess"]
    assert learned["crema-d"] == whole["crema-d"]
    assert learned["ravdess-song"] == 18 * 6  # 24 actors, 4 tested, 2 developed on


def test_crema_d_holds_out_its_fixed_actors(table: pd.DataFrame) -> None:
    (fold,) = PROTOCOLS["crema-d"].folds(table)
    assert speakers(table, fold.test) == set(CREMA_D_SPLIT.test)
    assert speakers(table, fold.development) == set(CREMA_D_SPLIT.development)
    assert (len(CREMA_D_SPLIT.test), len(CREMA_D_SPLIT.development)) == (19, 15)
    assert corpora(table, fold.train) == set(ALL)
    assert fold.classes == CREMA_D_SIX


def test_cross_corpus_learns_from_two_and_nothing_of_the_third(table: pd.DataFrame) -> None:
    folds = by_name("cross-corpus", table)
    song = {"ravdess-song"}
    assert corpora(table, folds["tess"].train) == {"ravdess", "crema-d"} | song
    assert corpora(table, folds["ravdess"].train) == {"tess", "crema-d"}
    assert corpora(table, folds["crema-d"].train) == {"ravdess", "tess"} | song
    assert all(corpora(table, fold.test) == {name} for name, fold in folds.items())


def test_cross_corpus_scores_the_common_classes(table: pd.DataFrame) -> None:
    folds = by_name("cross-corpus", table)
    seven = tuple(label for label in LABELS if label != "calm")
    assert folds["tess"].classes == folds["ravdess"].classes == seven
    assert folds["crema-d"].classes == CREMA_D_SIX
    assert set(table["emotion"].iloc[folds["ravdess"].test]) == set(seven)


def test_strangers_are_corpora_of_which_nothing_is_trained(table: pd.DataFrame) -> None:
    folds = by_name("strangers", table)
    assert tuple(folds) == STRANGERS
    for name, fold in folds.items():
        tested = {name, "ravdess-song"} if name == "ravdess" else {name}
        assert corpora(table, fold.test) == {name}
        assert not corpora(table, [*fold.train, *fold.development]) & tested
    assert folds["turev"].classes == ("calm", "happy", "sad", "angry")
    assert "emo-db" in corpora(table, folds["ravdess"].train)


def test_random_split_draws_the_papers_sizes_by_seed() -> None:
    n_clips = 4_240
    table = pd.DataFrame(
        {
            "corpus": ["ravdess"] * 1_440 + ["tess"] * 2_800,
            "speaker": [f"ravdess/{i % 24}" for i in range(1_440)] + ["tess/OAF"] * 2_800,
            "emotion": [LABELS[i % 8] for i in range(n_clips)],
        }
    )
    protocol = PROTOCOLS["random-split"]
    (fold,), (again,), (other,) = (protocol.folds(table, seed=seed) for seed in (0, 0, 1))
    assert (len(fold.train), len(fold.development), len(fold.test)) == RANDOM_SIZES
    assert len({*fold.train, *fold.development, *fold.test}) == sum(RANDOM_SIZES)
    np.testing.assert_array_equal(fold.test, again.test)
    assert set(fold.test) != set(other.test)
    assert protocol.speakers_shared
    assert "speakers shared" in protocol.title
    with pytest.raises(CorpusError, match=r"'tess/OAF'\] in the splits train and development"):
        replace(protocol, speakers_shared=False).folds(table)


def test_random_split_refuses_fewer_clips(table: pd.DataFrame) -> None:
    with pytest.raises(CorpusError, match=r"needs 4,232 clips .* 206 were found"):
        PROTOCOLS["random-split"].folds(table)


def test_a_missing_actor_is_named(table: pd.DataFrame) -> None:
    for name, absent in (("ravdess-6fold", "ravdess/14"), ("crema-d", "crema-d/1004")):
        with pytest.raises(CorpusError, match=f"no clip of {absent}, which"):
            PROTOCOLS[name].folds(table[table["speaker"] != absent])


def test_a_missing_corpus_leaves_a_side_empty_and_is_told(table: pd.DataFrame) -> None:
    with pytest.raises(CorpusError, match="tess: no clip for test"):
        PROTOCOLS["cross-corpus"].folds(table[table["corpus"] != "tess"])


def test_an_unknown_protocol_is_named_with_those_known() -> None:
    with pytest.raises(SerError, match="'ravdess' is not a protocol; known: ravdess-6fold"):
        find_protocol("ravdess")


@pytest.mark.needs_data
def test_real_corpora_give_the_documented_sizes(data: Path) -> None:
    real = full_table(data, ("ravdess", "tess", "crema-d"))
    sizes = {
        name: [len(fold.test) for fold in PROTOCOLS[name].folds(real)]
        for name in ("ravdess-6fold", "ravdess-5fold", "crema-d", "cross-corpus", "random-split")
    }
    assert sizes == {
        "ravdess-6fold": [240] * 6,
        "ravdess-5fold": [300, 300, 300, 300, 240],
        "crema-d": [1_553],
        "cross-corpus": [2_800, 1_248, 7_425],
        "random-split": [161],
    }


def test_a_recipe_sees_the_clips_of_its_corpora_alone(table: pd.DataFrame) -> None:
    fold = by_name("strangers", table)["ased"]
    seen = fold.within(table, ("ravdess", "nemo"))
    assert corpora(table, seen.train) == {"ravdess", "nemo"}
    assert corpora(table, seen.development) == {"ravdess"}
    assert len(seen.train) == sum(table["corpus"].iloc[fold.train].isin(("ravdess", "nemo")))
    np.testing.assert_array_equal(seen.test, fold.test)
