"""Evaluation protocols: training, development and test rows of each fold, and its classes.

In all but `random-split` no speaker is in two splits. Only classes of both the training and the
test split are evaluated.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from ser_core.errors import CorpusError, SerError
from ser_core.labels import LABELS
from ser_lab.data.splits import (
    CREMA_D_SPLIT,
    RAVDESS_5FOLDS,
    RAVDESS_FOLDS,
    SHIPPED_SPLIT,
    SpeakerSplit,
    speakers_of,
)
from ser_lab.data.tables import read_votes

Rows = npt.NDArray[np.intp]

RANDOM_SIZES = (3_703, 368, 161)
"""Training, development and test clips of the papers' random split."""
STRANGERS = ("ravdess", "tess", "crema-d", "nemo", "ased", "turev", "korean", "emospeech")
"""Corpora that are left out in turn."""
CREMA_D_SIX = ("neutral", "happy", "sad", "angry", "fearful", "disgust")
ALL_BUT_CALM = tuple(label for label in LABELS if label != "calm")


@dataclass(frozen=True, slots=True, eq=False)
class Fold:
    """One training and its test, as row numbers of a table of clips.

    Attributes:
        name: Short name, part of a file name.
        train: Rows to train on.
        development: Rows that choose the epoch and the temperature.
        test: Rows to predict.
        classes: Evaluated emotions: those of both training and test, in the order of labels.
    """

    name: str
    train: Rows
    development: Rows
    test: Rows
    classes: tuple[str, ...]

    def within(self, table: pd.DataFrame, corpora: Sequence[str]) -> "Fold":
        """Return the fold with the training and development rows of these corpora alone."""
        kept = table["corpus"].isin(corpora).to_numpy()
        train, development = (rows[kept[rows]] for rows in (self.train, self.development))
        return replace(self, train=train, development=development)


@dataclass(frozen=True, slots=True)
class Run:
    """Surroundings of one training.

    Attributes:
        data: Folder that holds a folder for each corpus.
        seed: Seed of weights, dropout and samples.
        folder: Where logs and checkpoints go; it need not exist.
    """

    data: Path
    seed: int
    folder: Path


@dataclass(frozen=True, slots=True)
class Protocol:
    """An evaluation that several systems share.

    Attributes:
        id: Name on the command line and in records.
        title: Description for the reader of a report.
        corpora: Corpora that it needs; those of a recipe may join the training split.
        classes: Evaluated emotions, over all folds.
        split: From a table of clips and a seed to folds.
        figure: The headline, `uar` or `war`.
        pooled: Whether figures are computed over all folds together; otherwise each fold
            has its own and the headline is their mean.
        speakers_shared: Whether training and test share speakers.
        calm_is_neutral: Whether an answer of calm counts as neutral, or the other way round, where
            a corpus has one of the two alone.
        recalibrated: Whether each fold is calibrated on the answers of the others.
        read_votes: From the data folder to the votes of listeners, where there are any; the
            predictions are then compared with their majority, too.
    """

    id: str
    title: str
    corpora: tuple[str, ...]
    classes: tuple[str, ...]
    split: Callable[[pd.DataFrame, int], list[Fold]]
    figure: str = "uar"
    pooled: bool = True
    speakers_shared: bool = False
    calm_is_neutral: bool = False
    recalibrated: bool = False
    read_votes: Callable[[Path], pd.DataFrame] | None = None

    def folds(self, table: pd.DataFrame, *, seed: int = 0) -> list[Fold]:
        """Split a table of clips.

        Args:
            table: Clips as `list_clips` gives them: this protocol's corpora, and others.
            seed: Seed of a random split.

        Raises:
            CorpusError: A speaker of the protocol has no clip, a split would be empty,
                or a speaker would be in two splits.
        """
        folds = self.split(table, seed)
        for fold in folds:
            rows = {"train": fold.train, "development": fold.development, "test": fold.test}
            speakers = {split: {*table["speaker"].iloc[chosen]} for split, chosen in rows.items()}
            if empty := [split for split in speakers if not speakers[split]]:
                raise CorpusError(
                    f"{fold.name}: no clip for {' and '.join(empty)}. Name more corpora."
                )
            for one, other in combinations(speakers, 2):
                if (both := speakers[one] & speakers[other]) and not self.speakers_shared:
                    raise CorpusError(
                        f"{fold.name}: {sorted(both)} in the splits {one} and {other}."
                    )
        return folds


def _ravdess(actor_folds: Sequence[Sequence[str]], table: pd.DataFrame, _seed: int) -> list[Fold]:
    folds = []
    for i, actors in enumerate(actor_folds):
        # Development actors are those of the folds that follow.
        following = [a for fold in (*actor_folds[i + 1 :], *actor_folds[:i]) for a in fold]
        development = _first_of_each_sex(table, speakers_of("ravdess", following))
        split = SpeakerSplit(speakers_of("ravdess", actors), tuple(development))
        folds.append(_hold_out(table, f"fold-{i + 1}", "ravdess", split))
    return folds


def _crema_d(table: pd.DataFrame, _seed: int) -> list[Fold]:
    return [_hold_out(table, "actors", "crema-d", CREMA_D_SPLIT)]


def _cross_corpus(table: pd.DataFrame, _seed: int) -> list[Fold]:
    three = ("tess", "ravdess", "crema-d")
    return [_unseen_corpus(table, c, [o for o in three if o != c]) for c in three]


def _strangers(table: pd.DataFrame, _seed: int) -> list[Fold]:
    pools = _pools(table)
    return [_unseen_corpus(table, c, set(pools) - {c}) for c in STRANGERS]


def _random(table: pd.DataFrame, seed: int) -> list[Fold]:
    rows = np.flatnonzero(table["corpus"].isin(("ravdess", "tess")))
    if len(rows) < sum(RANDOM_SIZES):
        raise CorpusError(
            f"random-split needs {sum(RANDOM_SIZES):,} clips of RAVDESS and TESS; "
            f"{len(rows):,} were found. Download the complete corpora."
        )
    shuffled = np.random.default_rng(seed).permutation(rows)[: sum(RANDOM_SIZES)]
    train, development, test = np.split(shuffled, np.cumsum(RANDOM_SIZES)[:2])
    return [_fold(table, "random", np.sort(train), np.sort(development), np.sort(test))]


def _hold_out(table: pd.DataFrame, name: str, corpus: str, split: SpeakerSplit) -> Fold:
    """Hold out speakers of one corpus, and train on all others."""
    _require(table, [*split.test, *split.development])
    of_corpus, speakers = table["corpus"] == corpus, table["speaker"]
    is_test, is_development = speakers.isin(split.test), speakers.isin(split.development)
    return _fold(
        table,
        name,
        np.flatnonzero(~is_test & ~is_development),
        np.flatnonzero(of_corpus & is_development),
        np.flatnonzero(of_corpus & is_test),
    )


def _unseen_corpus(table: pd.DataFrame, tested: str, trained: Iterable[str]) -> Fold:
    """Test one corpus, train on others; song of the same actors counts as the corpus."""
    pools = _pools(table)
    is_train = pools.isin(list(trained))
    is_development = table["speaker"].isin(_development_speakers(table[is_train])) & is_train
    return _fold(
        table,
        tested,
        np.flatnonzero(is_train & ~is_development),
        np.flatnonzero(is_development & (table["corpus"] == pools)),
        np.flatnonzero(table["corpus"] == tested),
    )


def _fold(table: pd.DataFrame, name: str, train: Rows, development: Rows, test: Rows) -> Fold:
    """Leave out of the test the emotions that are not trained."""
    emotions = table["emotion"].to_numpy()
    known = set(emotions[train]) & set(emotions[test])
    classes = tuple(label for label in LABELS if label in known)
    return Fold(name, train, development, test[np.isin(emotions[test], list(known))], classes)


def _pools(table: pd.DataFrame) -> "pd.Series[str]":
    """Return the pool of each clip's speaker: `ravdess` for speech and for song."""
    return table["speaker"].str.partition("/")[0]


def _development_speakers(table: pd.DataFrame) -> list[str]:
    """Return those of the shipped models where they are here, else the first of each sex."""
    speakers = sorted(table["speaker"].unique())
    usual = {*SHIPPED_SPLIT.development, *CREMA_D_SPLIT.development}
    return [s for s in speakers if s in usual] or _first_of_each_sex(table, speakers)


def _first_of_each_sex(table: pd.DataFrame, speakers: Sequence[str]) -> list[str]:
    _require(table, speakers)
    sexes = table.drop_duplicates("speaker").set_index("speaker")["sex"][list(speakers)]
    return sexes.groupby(sexes).head(1).index.tolist()


def _require(table: pd.DataFrame, speakers: Iterable[str]) -> None:
    if absent := sorted({*speakers} - {*table["speaker"]}):
        raise CorpusError(
            f"There is no clip of {', '.join(absent)}, which the protocol needs. "
            "Download the complete corpus."
        )


_LISTED = (
    Protocol("ravdess-6fold", "RAVDESS speech, six folds of unseen actors (those of EmoBox)",
             ("ravdess",), LABELS, partial(_ravdess, RAVDESS_FOLDS)),
    Protocol("ravdess-5fold", "RAVDESS speech, five folds of unseen actors (those of ResLSTM-SA)",
             ("ravdess",), LABELS, partial(_ravdess, RAVDESS_5FOLDS)),
    Protocol("crema-d", "CREMA-D, 19 unseen actors",
             ("crema-d",), CREMA_D_SIX, _crema_d, read_votes=read_votes),
    Protocol("cross-corpus", "An unseen corpus: RAVDESS, TESS and CREMA-D in turn",
             ("ravdess", "tess", "crema-d"), ALL_BUT_CALM, _cross_corpus, pooled=False),
    Protocol("strangers", "Each of eight corpora in turn, unseen; RAVDESS with its song",
             (*STRANGERS, "ravdess-song"), LABELS, _strangers, pooled=False,
             calm_is_neutral=True, recalibrated=True),
    Protocol("random-split", "RAVDESS and TESS, clips drawn at random: speakers shared",
             ("ravdess", "tess"), LABELS, _random, figure="war", speakers_shared=True),
)  # fmt: skip

PROTOCOLS: dict[str, Protocol] = {protocol.id: protocol for protocol in _LISTED}


def find_protocol(name: str) -> Protocol:
    """Return a protocol by name; a `SerError` lists those known."""
    if name not in PROTOCOLS:
        raise SerError(f"{name!r} is not a protocol; known: {', '.join(PROTOCOLS)}.")
    return PROTOCOLS[name]
