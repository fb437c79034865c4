"""What CREMA-D's publisher tells beside the clips: listeners' votes and the actors."""

from pathlib import Path

import pandas as pd
import pytest

from ser_core.corpora import CORPORA
from ser_core.errors import CorpusError
from ser_core.labels import LABELS
from ser_lab.data.tables import read_actors, read_votes

CLIPS_CSV = """\
name,actor_id,votes_angry,votes_disgust,votes_fearful,votes_happy,votes_neutral,votes_sad
1001_DFA_ANG_XX,1001,6,2,0,0,1,0
1040_ITH_SAD_X,1040,0,0,1,0,4,4
1002_DFA_SAD_XX,1002,,,,,,
"""
TABULATED_VOTES_CSV = """\
"","A","D","F","H","N","S","fileName","numResponses"
"100062",6,2,0,0,1,0,"1001_DFA_ANG_XX",9
"103234",0,0,1,0,4,4,"1040_ITH_SAD_XX",9
"200062",0,0,0,9,0,0,"1001_DFA_ANG_XX",9
"300062",0,0,0,0,9,0,"1001_DFA_ANG_XX",9
"""
ACTORS_CSV = """\
"ActorID","Age","Sex","Race","Ethnicity"
1001,51,"Male","Caucasian","Not Hispanic"
1047,22,"Female","Unknown","Hispanic"
"""


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


@pytest.mark.parametrize(
    ("place", "text"),
    [
        ("crema_d/clips.csv", CLIPS_CSV),
        ("CREMA-D/processedResults/tabulatedVotes.csv", TABULATED_VOTES_CSV),
    ],
)
def test_votes_on_sound_alone_stand_in_the_order_of_labels(
    place: str, text: str, tmp_path: Path
) -> None:
    write(tmp_path / place, text)
    votes = read_votes(tmp_path)
    assert tuple(votes.columns) == LABELS
    assert votes.T.to_dict("list") == {
        "1001_DFA_ANG_XX": [1, 0, 0, 0, 6, 0, 2, 0],
        "1040_ITH_SAD_X": [4, 0, 0, 4, 0, 1, 0, 0],
    }


@pytest.mark.parametrize("place", ["crema_d/actors.csv", "CREMA-D/VideoDemographics.csv"])
def test_actors_are_told_by_speaker(place: str, tmp_path: Path) -> None:
    write(tmp_path / place, ACTORS_CSV)
    actors = read_actors(tmp_path)
    assert list(actors.columns) == ["age", "sex", "race", "ethnicity"]
    assert actors.T.to_dict("list") == {
        "crema-d/1001": [51, "male", "Caucasian", "Not Hispanic"],
        "crema-d/1047": [22, "female", "Unknown", "Hispanic"],
    }


def test_missing_tables_are_named_with_their_source(tmp_path: Path) -> None:
    with pytest.raises(
        CorpusError, match=r"Neither clips\.csv nor .*CREMA-D.* Download it from http"
    ):
        read_votes(tmp_path)
    with pytest.raises(CorpusError, match=r"Neither actors\.csv nor VideoDemographics\.csv"):
        read_actors(tmp_path)


@pytest.mark.parametrize(
    ("text", "told"),
    [("", "cannot be read as a table"), ("name,votes_angry\na,1\n", "has no column votes_disgust")],
)
def test_a_damaged_table_is_refused(text: str, told: str, tmp_path: Path) -> None:
    write(tmp_path / "crema_d" / "clips.csv", text)
    with pytest.raises(CorpusError, match=rf"clips\.csv {told}"):
        read_votes(tmp_path)


@pytest.mark.needs_data
def test_real_votes_know_the_clips_and_agree_above_chance(data: Path) -> None:
    votes = read_votes(data)
    intended = pd.Series({c.path.stem: c.emotion for c in CORPORA["crema-d"].find_clips(data)})
    assert set(intended.index) - set(votes.index) == {"1040_ITH_SAD_X"}
    assert set(votes.index) < set(intended.index)
    assert (votes >= 0).all(axis=None)
    assert (votes.sum(axis=1) > 0).all()
    assert (votes[["calm", "surprised"]] == 0).all(axis=None)
    agreement = (votes.idxmax(axis=1) == intended[votes.index]).groupby(intended).mean()
    assert (agreement > 1 / 6).all()
    assert agreement.mean() > 0.4


@pytest.mark.needs_data
def test_real_actors_are_those_of_the_clips(data: Path) -> None:
    actors = read_actors(data)
    sexes = {clip.speaker: clip.sex for clip in CORPORA["crema-d"].find_clips(data)}
    assert actors["sex"].to_dict() == sexes
    assert actors["age"].between(20, 74).all()
    assert set(actors["race"]) == {"African American", "Asian", "Caucasian", "Unknown"}
