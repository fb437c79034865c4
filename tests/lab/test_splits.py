"""Tables of clips, and that no speaker is in two splits."""

from pathlib import Path

import pytest

from ser_core.errors import CorpusError
from ser_lab.data.splits import (
    COLUMNS,
    CREMA_D_SPLIT,
    RAVDESS_FOLDS,
    SHIPPED_SPLIT,
    SpeakerSplit,
    choose_subset,
    list_clips,
    shipped_split,
    tabulate_clips,
)
from tests.lab.conftest import write_clip

SPLIT = SpeakerSplit(test=("ravdess/01",), development=("ravdess/02", "tess/YAF"))


def test_no_speaker_is_in_two_splits(miniature: Path) -> None:
    table = tabulate_clips(miniature, ("ravdess", "tess"), SPLIT)
    assert tuple(table.columns) == COLUMNS
    assert (table.groupby("speaker")["split"].nunique() == 1).all()
    sides = table.groupby("split")["speaker"].unique().map(sorted).to_dict()
    assert sides == {
        "test": ["ravdess/01"],
        "development": ["ravdess/02", "tess/YAF"],
        "train": ["ravdess/03", "ravdess/04", "tess/OAF"],
    }


def test_the_six_folds_hold_each_actor_once() -> None:
    actors = [actor for fold in RAVDESS_FOLDS for actor in fold]
    assert sorted(actors) == [f"{i:02d}" for i in range(1, 25)]


def test_the_shipped_split_tests_fold_one_and_shares_nobody() -> None:
    assert SHIPPED_SPLIT.test == ("ravdess/01", "ravdess/11", "ravdess/20", "ravdess/21")
    assert not set(SHIPPED_SPLIT.test) & set(SHIPPED_SPLIT.development)


def test_a_shipped_model_holds_out_actors_of_each_corpus_that_it_learns_from() -> None:
    assert shipped_split(("ravdess", "tess")) == SHIPPED_SPLIT
    assert shipped_split(("tess",)) == SpeakerSplit((), ())
    both = shipped_split(("ravdess", "ravdess-song", "tess", "crema-d"))
    assert both.test == SHIPPED_SPLIT.test + CREMA_D_SPLIT.test
    assert both.development == SHIPPED_SPLIT.development + CREMA_D_SPLIT.development
    assert not set(both.test) & set(both.development)


def test_no_corpora_give_an_empty_table_of_the_same_columns(miniature: Path) -> None:
    assert tuple(list_clips(miniature, ()).columns) == COLUMNS[:-1]


def test_clips_are_chosen_by_channel_and_repetition(miniature: Path, tmp_path: Path) -> None:
    for name in ("03-01-05-01-01-01-01", "03-01-05-01-01-02-01", "03-02-05-01-01-02-01"):
        write_clip(tmp_path / "ravdess" / f"{name}.wav", seed=0)
    table = list_clips(tmp_path, ("ravdess", "ravdess-song"))
    assert set(table["modality"]) == {"audio-only"}
    chosen = choose_subset(table, {"channel": "speech", "repetition": "second"})
    assert [path.stem for path in chosen["path"]] == ["03-01-05-01-01-02-01"]
    assert choose_subset(list_clips(miniature, ("tess",)), {}).shape[0] == 14


def test_a_subset_that_does_not_exist_is_told_with_what_there_is(miniature: Path) -> None:
    table = list_clips(miniature, ("ravdess", "tess"))
    with pytest.raises(CorpusError, match="'take' is not a column of clips; known: corpus, "):
        choose_subset(table, {"take": "first"})
    with pytest.raises(CorpusError, match="No clip has the repetition 'third'; there are: first"):
        choose_subset(table, {"repetition": "third"})


def test_a_speaker_who_is_not_there_is_named(miniature: Path) -> None:
    with pytest.raises(CorpusError, match="ravdess/24"):
        tabulate_clips(miniature, ("ravdess",), SpeakerSplit(("ravdess/24",), ()))


def test_an_unknown_corpus_is_named(miniature: Path) -> None:
    with pytest.raises(CorpusError, match="'savoy' is not a corpus; known: ravdess, "):
        tabulate_clips(miniature, ("savoy",), SPLIT)
