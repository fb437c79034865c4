"""Any model on a user's own table: labels that are matched, groups, and a second system."""

import logging
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from os.path import abspath
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from ser_core.corpora import CORPORA
from ser_core.errors import CorpusError
from ser_core.labels import column_of, comparable_name, plain_name
from ser_core.model.manifest import Manifest
from ser_core.predictor import Predictor
from ser_lab.data.tables import clips_from_csv, read_rows
from ser_lab.evaluate.shipped import check_unseen, predict_files
from ser_lab.metrics import (
    CalibrationBin,
    Floats,
    Scores,
    bootstrap,
    calibration_bins,
    compute_scores,
    interval,
    narrow,
    unweighted_recall,
)

logger = logging.getLogger(__name__)

OTHER = "(another)"
"""Column of a system's answers that are none of the compared emotions; they are wrong."""
NOT_GIVEN = "not given"
"""Group of the clips whose cell is empty."""
MAX_NUMBERS = 8
"""Most different numbers in a column that are a group each; more are cut into `N_RANGES`."""
N_RANGES = 4
_PREDICTED = {"file": "path", "emotion": "label"}
"""Columns of `predict --csv`, by their names in a table."""


@dataclass(frozen=True, slots=True)
class LabelMap:
    """The emotions that a model and a table have in common, and their labels in both.

    Attributes:
        classes: The emotions that are compared, in the table's words and the model's order.
        of_model: Class of each label of the model that has one; the others are left out.
        of_table: Class of each label of the table that has one; other clips are left out.
    """

    classes: tuple[str, ...]
    of_model: dict[str, str]
    of_table: dict[str, str]

    def class_of(self, label: str) -> str | None:
        """Return the class of a label of either, in upper or lower case."""
        names = (self.of_table | self.of_model).items()
        wanted = comparable_name(label)
        return next((c for name, c in names if comparable_name(name) == wanted), None)


def parse_pairs(texts: Iterable[str]) -> list[tuple[str, str]]:
    """Return pairs of a model's and a table's label from texts such as `angry=anger,happy=joy`.

    Raises:
        CorpusError: A part is no pair.
    """
    pairs = []
    for part in ",".join(texts).split(","):
        one, equals, other = map(plain_name, part.partition("="))
        if one and other:
            pairs.append((one, other))
        elif one or equals:
            raise CorpusError(
                f"'--map' is {part!r}; expected MODEL=TABLE, a label of the model and one of the "
                "table, such as angry=anger."
            )
    return pairs


def match_labels(
    labels: Sequence[str], own: Iterable[str], pairs: Iterable[tuple[str, str]] = ()
) -> LabelMap:
    """Match the labels of a model with those of a table.

    Those of the same name, in upper or lower case, are one emotion; so are the labels of a pair,
    and all that are connected in this way: `calm=neutral` adds a model's calm to the neutral of
    both, and `happy=joy` with `happy=excited` is one emotion, `joy/excited`.

    Args:
        labels: The model's.
        own: The table's.
        pairs: A label of the model and one of the table each.

    Raises:
        CorpusError: A pair has an unknown label, or fewer than two emotions match.
    """
    labels, own = tuple(labels), tuple(dict.fromkeys(own))
    links = [(m, t) for m in labels for t in own if comparable_name(m) == comparable_name(t)]
    links += [(_find(m, labels, "model"), _find(t, own, "table")) for m, t in pairs]
    groups: list[set[tuple[str, str]]] = []
    for link in links:
        joined = [g for g in groups if any(m == link[0] or t == link[1] for m, t in g)]
        groups = [g for g in groups if g not in joined] + [{link}.union(*joined)]
    groups.sort(key=lambda group: min(labels.index(m) for m, _ in group))
    if len(groups) < 2:
        raise CorpusError(
            f"The table's labels are {', '.join(own)}, the model's {', '.join(labels)}; at least "
            "two must match. Match more with --map MODEL=TABLE, such as --map angry=anger."
        )
    named = [("/".join(t for t in own if t in {t for _, t in g}), g) for g in groups]
    return LabelMap(
        classes=tuple(name for name, _ in named),
        of_model={m: name for name, group in named for m, _ in group},
        of_table={t: name for name, group in named for _, t in group},
    )


def _find(label: str, known: tuple[str, ...], whose: str) -> str:
    for name in known:
        if comparable_name(name) == comparable_name(label):
            return name
    raise CorpusError(
        f"'--map' names {label!r}, and the {whose}'s labels are {', '.join(known)}. Expected is "
        "MODEL=TABLE, such as angry=anger."
    )


def read_table(csv_path: Path, by: Sequence[str] = ()) -> pd.DataFrame:
    """Read a table of recordings, with groups.

    Args:
        csv_path: See `clips_from_csv`; speakers may be missing.
        by: Columns that sort the clips into groups. Numbers of more than `MAX_NUMBERS` values are
            cut into `N_RANGES` ranges with about as many clips each.

    Returns:
        A row per clip: `path`, `emotion`, `speaker`, and `by_COLUMN` for each column of `by`.

    Raises:
        CorpusError: The table is not as documented, or lacks a column.
    """
    clips = clips_from_csv(csv_path, needs_speaker=False)
    table = pd.DataFrame(
        [(clip.path, clip.emotion, clip.speaker) for clip in clips],
        columns=["path", "emotion", "speaker"],
    )
    rows = [row for _, row in read_rows(csv_path, ("path", "label"))]
    for column in by:
        if column not in rows[0]:
            known = ", ".join(filter(None, rows[0]))
            raise CorpusError(f"'--by' names {column!r}; the columns of {csv_path} are {known}.")
        table[f"by_{column}"] = _groups(pd.Series([row[column] for row in rows]))
    return table


def _groups(cells: pd.Series) -> pd.Categorical:
    """Return the group of each cell; the categories are in order, `NOT_GIVEN` last."""
    given = cells[cells != ""]
    numbers = pd.to_numeric(given, errors="coerce")
    names = sorted(given.unique())
    if numbers.notna().all():
        if numbers.nunique() > MAX_NUMBERS:
            ranges = numbers.groupby(pd.qcut(numbers, N_RANGES, duplicates="drop"), observed=True)
            given = ranges.transform(lambda part: f"{part.min():g} to {part.max():g}")
        names = [*given[numbers.sort_values().index].unique()]
    groups = given.reindex(cells.index, fill_value=NOT_GIVEN)
    return pd.Categorical(groups, categories=[*dict.fromkeys([*names, NOT_GIVEN])])


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """Answers of one system about the clips of a table.

    Attributes:
        system: Name of the system.
        labels: Emotions in column order: the classes of a `LabelMap`, and perhaps `OTHER`.
        probabilities: (n_clips, n_labels) float64; NaN for a clip without an answer.
        is_graded: Whether they are probabilities, not 1 for the answer and 0 for the rest.
    """

    system: str
    labels: tuple[str, ...]
    probabilities: npt.NDArray[np.float64]
    is_graded: bool

    @property
    def is_given(self) -> npt.NDArray[np.bool_]:
        """(n_clips,) whether there is an answer."""
        return ~np.isnan(self.probabilities[:, 0])


def select_clips(table: pd.DataFrame, label_map: LabelMap) -> pd.DataFrame:
    """Return the rows of `read_table` whose label has a class, with its index as `truth`."""
    classes = table["emotion"].map(label_map.of_table)
    return table.assign(truth=classes.map(label_map.classes.index, na_action="ignore"))[
        classes.notna()
    ].astype({"truth": int})


def predict_clips(predictor: Predictor, table: pd.DataFrame, label_map: LabelMap) -> Answers:
    """Predict the clips of a table from their files.

    Probabilities of labels with the same class are added, those without a class are left out, and
    the rest is renormalised. A file that cannot be read is logged and has no answer, and clips
    named like those of the training are counted in a warning.

    Args:
        predictor: The model as it serves.
        table: Result of `select_clips`.
        label_map: Classes of the model's labels.

    Raises:
        ModelError: The model was trained or tuned on a speaker of the table.
        CorpusError: No clip can be read.
    """
    manifest = predictor.manifest
    check_unseen(manifest, table["speaker"].unique(), "the table")
    if n_seen := sum(_is_seen(Path(path), manifest) for path in table["path"]):
        logger.warning(
            "%d of %d clips are named like clips of the corpora that %s was trained on. Its "
            "figures on them are no measure for unseen speakers.",
            n_seen, len(table), manifest.name,
        )  # fmt: skip
    probabilities = predict_files(predictor, [Path(path) for path in table["path"]])
    if np.isnan(probabilities).all():
        raise CorpusError(f"None of {len(table)} clips can be read. Check the files.")
    columns = [label_map.of_model.get(label) for label in predictor.labels]
    merged = _merge(probabilities, columns, label_map.classes)
    return Answers(f"{manifest.name} {manifest.version}", label_map.classes, merged, is_graded=True)


def _is_seen(path: Path, manifest: Manifest) -> bool:
    """Return whether a file is named like a clip of a training or development speaker."""
    for corpus in (CORPORA[c["name"]] for c in manifest.corpora if c["name"] in CORPORA):
        if parts := corpus.parse(corpus.clip_name(path)):
            speaker = f"{corpus.speakers or corpus.name}/{parts.speaker}"
            return speaker not in manifest.split["test"]
    return False


def read_answers(
    csv_path: Path, table: pd.DataFrame, label_map: LabelMap, *, folder: Path
) -> Answers:
    """Read the answers of another system.

    Args:
        csv_path: A row per clip: `path`, as in the table or relative to the current folder, and
            `label`, a label of the table or of the model; or `file` and `emotion`, as
            `predict --csv` prints them. If a column for every class holds probabilities, they
            are used as the model's are, see `predict_clips`. An empty cell is no answer. Rows of
            other clips are ignored.
        table: Result of `select_clips`.
        label_map: Classes of the labels; another label is a wrong answer.
        folder: Folder of the table.

    Raises:
        CorpusError: The file cannot be read as such a table, has no clip of the table, has one
            twice, or has a probability that is none.
    """
    rows = [*read_rows(csv_path, ("path", "label"), renamed=_PREDICTED)]
    places = {abspath(path): place for place, path in enumerate(table["path"])}  # noqa: PTH100
    graded = _graded_columns(rows[0][1] if rows else (), label_map)
    labels = label_map.classes if graded else (*label_map.classes, OTHER)
    found = np.full((len(table), len(graded or labels)), np.nan)
    listed: set[int] = set()
    for line, row in rows:
        # An absolute path is the same below both folders.
        names = (abspath(folder / row["path"]), abspath(row["path"]))  # noqa: PTH100
        place = next((places[name] for name in names if name in places), None)
        if place is None:
            continue
        if place in listed:
            raise CorpusError(f"{csv_path}, line {line}: {row['path']!r} is listed again.")
        listed.add(place)
        if graded and any(row[column] for column in graded):
            found[place] = [_probability(csv_path, line, row[column]) for column in graded]
        elif row["label"] and not graded:
            answer = label_map.class_of(row["label"]) or OTHER
            found[place] = [float(answer == label) for label in labels]
    if not listed:
        raise CorpusError(
            f"{csv_path} has no row for any of the table's {len(table)} clips. Its paths must be "
            "as in the table, or lead to the same files from the current folder."
        )
    merged = _merge(found, [*graded.values()], labels) if graded else found
    return Answers(csv_path.name, labels, merged, is_graded=bool(graded))


def _graded_columns(row: Iterable[str], label_map: LabelMap) -> dict[str, str]:
    """Return the class of each column with probabilities; none unless every class has one."""
    by_column = {column_of(label): label for label in (*label_map.of_table, *label_map.of_model)}
    classes = {column: label_map.class_of(by_column.get(column, column)) for column in row}
    columns = {column: name for column, name in classes.items() if name}
    return columns if set(columns.values()) == set(label_map.classes) else {}


def _probability(csv_path: Path, line: int, cell: str) -> float:
    try:
        number = float(cell)
    except ValueError:
        number = math.nan
    if not 0 <= number <= 1:
        raise CorpusError(f"{csv_path}, line {line}: {cell!r} is no probability from 0 to 1.")
    return number


def _merge(
    probabilities: Floats, columns: Sequence[str | None], classes: tuple[str, ...]
) -> npt.NDArray[np.float64]:
    """Add the columns of each class, and renormalise; a row with NaN is NaN."""
    belongs = np.array([[name == column for name in classes] for column in columns], np.float64)
    merged = narrow(probabilities @ belongs, classes, classes)
    merged[np.isnan(probabilities).any(axis=1)] = np.nan
    return merged


def score_answers(table: pd.DataFrame, answers: Answers) -> Scores:
    """Compute the metrics of a system's answers; clips without one are left out.

    Args:
        table: Result of `select_clips`.
        answers: About its rows.
    """
    given = answers.is_given
    truth = table["truth"].to_numpy()[given]
    scores = compute_scores(truth, answers.probabilities[given], answers.labels)
    scores.per_emotion.pop(OTHER, None)
    return scores


def bin_answers(table: pd.DataFrame, answers: Answers) -> tuple[CalibrationBin, ...]:
    """Return the calibration of a system's answers, none where they are not probabilities.

    Args:
        table: Result of `select_clips`.
        answers: About its rows.
    """
    if not answers.is_graded:
        return ()
    given = answers.is_given
    confidence = answers.probabilities[given].max(axis=1)
    return calibration_bins(confidence, _correct(table, answers)[given])


@dataclass(frozen=True, slots=True)
class GroupScore:
    """Metrics of a group of clips, and its distance from the others.

    Attributes:
        column: Column of the table.
        group: Its value.
        n_clips: Clips of the group.
        uar: UAR over the emotions of the group.
        uar_interval: Its 95% bootstrap interval.
        war: Share of correct answers.
        gap: UAR of the group minus that of all other clips, over the emotions that both have;
            NaN where there is none.
        gap_interval: Its 95% bootstrap interval.
    """

    column: str
    group: str
    n_clips: int
    uar: float
    uar_interval: tuple[float, float]
    war: float
    gap: float
    gap_interval: tuple[float, float]


def score_groups(table: pd.DataFrame, answers: Answers) -> Iterator[GroupScore]:
    """Yield the metrics of each group of each column that `read_table` was given."""
    given = answers.is_given
    table, correct = table[given], _correct(table, answers)[given]
    truth = table["truth"].to_numpy()
    for column in [name for name in map(str, table.columns) if name.startswith("by_")]:
        for group in table[column].cat.remove_unused_categories().cat.categories:
            inside = (table[column] == group).to_numpy()
            uars, _ = bootstrap(truth[inside], correct[inside])
            common = np.intersect1d(truth[inside], truth[~inside])
            both = np.isin(truth, common)
            gap, gap_interval = math.nan, (math.nan, math.nan)
            if len(common):
                parts = [(truth[rows & both], correct[rows & both]) for rows in (inside, ~inside)]
                own, others = (bootstrap(*part)[0] for part in parts)
                gap = unweighted_recall(*parts[0]) - unweighted_recall(*parts[1])
                # In reverse, so that no draw of one depends on that of the other.
                gap_interval = interval(own - others[::-1])
            yield GroupScore(
                column.removeprefix("by_"),
                group,
                int(inside.sum()),
                unweighted_recall(truth[inside], correct[inside]),
                interval(uars),
                float(correct[inside].mean()),
                gap,
                gap_interval,
            )


def _correct(table: pd.DataFrame, answers: Answers) -> npt.NDArray[np.bool_]:
    """Return (n_clips,) whether each answer is right; any value where there is none."""
    return np.asarray(answers.probabilities.argmax(axis=1) == table["truth"], np.bool_)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two systems on the clips that both have answered.

    Attributes:
        ours: Scores of one.
        other: Scores of the other.
        uar_gap: 95% interval of the difference in UAR, ours minus the other's.
        war_gap: The same of the WAR.
    """

    ours: Scores
    other: Scores
    uar_gap: tuple[float, float]
    war_gap: tuple[float, float]


def compare_systems(table: pd.DataFrame, ours: Answers, other: Answers) -> Comparison:
    """Compare two systems on the same clips, by a paired bootstrap.

    Raises:
        CorpusError: No clip has an answer of both.

    Source: Efron and Tibshirani 1993, An introduction to the bootstrap.
    """
    both = ours.is_given & other.is_given
    if not both.any():
        raise CorpusError(f"{ours.system} and {other.system} have answered no clip in common.")
    shared, truth = table[both], table["truth"].to_numpy()[both]
    pair = [replace(a, probabilities=a.probabilities[both]) for a in (ours, other)]
    # The same clips are drawn for both: as many clips give the same draws.
    draws = [bootstrap(truth, _correct(shared, answers)) for answers in pair]
    uar_gap, war_gap = (interval(one - another) for one, another in zip(*draws, strict=True))
    ours_scores, other_scores = (score_answers(shared, answers) for answers in pair)
    return Comparison(ours_scores, other_scores, uar_gap, war_gap)
