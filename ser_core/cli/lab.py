"""The commands of `ser_lab`: train, evaluate, report, explore, reproduce, and fetch corpora."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ser_core.cli.common import (
    BAD_INPUT,
    MODEL,
    MODELS,
    ModelOption,
    ModelsOption,
    app,
    command,
    complain,
    one_of,
    open_model,
    quiet_native_code,
    show,
)
from ser_core.cli.output import (
    print_answers,
    print_comparison,
    print_groups,
    print_label_map,
    print_scores,
    print_states,
    print_summary,
)
from ser_core.corpora import CORPORA
from ser_core.errors import SerError
from ser_core.paths import check_output, lists_its_files

if TYPE_CHECKING:
    from ser_lab.fetch import CorpusState

DATA = Path("../shared/data")
RUNS = Path("docs/runs")

# Names for help and completion, written out so that the command line starts without ser_lab.
RECIPES = ("lstm", "accurate", "compact")
PROTOCOLS = (
    "ravdess-6fold", "ravdess-5fold", "crema-d",
    "strangers", "cross-corpus", "random-split",
)  # fmt: skip
SYSTEMS = ("lstm", "bilstm", "mfcc-lstm", "cnn", "dual-rnn", "svm", "hybrid-lstm")
SPLITS = ("random", "speaker")
FEATURE_SETS = ("papers", "mel", "chroma", "spectral", "pitch", "functionals", "whisper")
PREPROCESSINGS = ("serving", "paper")
one_of_corpora = one_of(*CORPORA)

DataOption = Annotated[Path, typer.Option(help="Folder with one folder per corpus.")]
CustomDataOption = Annotated[
    Path,
    typer.Option(help="Folder with one folder per corpus, or a .csv table of your own recordings."),
]
RunsOption = Annotated[Path, typer.Option(help="Folder of the run records.")]
SeedsOption = Annotated[int, typer.Option(min=1, help="Number of runs, with seeds 0, 1, …")]

data_app = typer.Typer(
    help="Download the corpora from their publishers, and check them.", no_args_is_help=True
)
app.add_typer(data_app, name="data")


@command(extra="train")
def train(
    recipe: Annotated[
        str | None,
        typer.Argument(
            help="accurate, compact, or lstm (the baseline and the default).",
            autocompletion=one_of(*RECIPES),
        ),
    ] = None,
    data: CustomDataOption = DATA,
    out: Annotated[Path | None, typer.Option(help="Model folder to write.")] = None,
    start: Annotated[
        str | None,
        typer.Option(
            help="Instead of a recipe: fine-tune accurate, compact or a model folder on a table.",
            autocompletion=one_of(*MODELS),
        ),
    ] = None,
    own_labels: Annotated[
        bool, typer.Option("--own-labels", help="With --start: only the table's labels.")
    ] = False,
    corpora: Annotated[
        list[str] | None,
        typer.Option(
            "--corpus",
            help="One training corpus, repeatable; all of the recipe where none is named.",
            autocompletion=one_of_corpora,
        ),
    ] = None,
    runs: Annotated[Path | None, typer.Option(help="Folder for logs and checkpoints.")] = None,
    records: Annotated[
        Path | None,
        typer.Option(help="Run records, whose answers about strangers calibrate the model."),
    ] = RUNS,
    seeds: SeedsOption = 3,
) -> None:
    """Train a model and write a model folder with its figures and model card.

    With --data recordings.csv, train on your own recordings: the columns are path, label and
    speaker, and sex where known. Some speakers are held out for validation and testing. With
    --start as well, 20 to 200 recordings are enough to adapt a model to them. With --corpus, leave
    out the corpora whose licences do not suit you.
    """
    from ser_lab.data.splits import is_table
    from ser_lab.report.model_card import is_model_folder
    from ser_lab.ship import train_and_export
    from ser_lab.train.recipes import custom_recipe, find_recipe, restrict_corpora

    if start is not None:
        if recipe or corpora:
            raise SerError("'--start' goes with a table alone: leave out the recipe and --corpus.")
        _fine_tune(start, data, out, runs, own_labels=own_labels)
        return
    if own_labels:
        raise SerError("'--own-labels' goes with --start; without, the labels are the table's.")
    recipe = recipe or "lstm"
    chosen = find_recipe(recipe)
    if corpora:
        chosen = restrict_corpora(chosen, corpora)
    runs = runs or Path("runs") / recipe
    out = out or runs / "model"
    check_output(out, is_model_folder)  # before the recordings of a table are decoded
    if is_table(data):
        if corpora:
            raise SerError("A table is one corpus: leave out --corpus.")
        chosen = custom_recipe(chosen, data)
        records = None
    manifest = train_and_export(chosen, data, out, seeds=range(seeds), runs=runs, records=records)
    uar = manifest.metrics["test"]["uar"]
    show(f"{out} written: seed {manifest.seed}, UAR {uar:.1%} on the test speakers.")


def _fine_tune(
    start: str, data: Path, out: Path | None, runs: Path | None, *, own_labels: bool
) -> None:
    """Fine-tune a model on a table, and print its figures before and after."""
    from ser_core.registry import resolve
    from ser_lab.data.splits import is_table
    from ser_lab.report.model_card import is_model_folder
    from ser_lab.ship import train_and_export
    from ser_lab.train.recipes import finetune_recipe

    if not is_table(data):
        raise SerError("'--start' needs --data TABLE.csv, a table of your own recordings.")
    runs = runs or Path("runs") / "finetuned"
    out = out or runs / "model"
    check_output(out, is_model_folder)
    model = resolve(start).model
    model.download_weights()
    recipe = finetune_recipe(model, data, own_labels=own_labels)
    manifest = train_and_export(recipe, data, out, seeds=(0,), runs=runs)
    for name, figures in (("before", "start"), ("after", "test")):
        if "uar" in (found := manifest.metrics[figures]):
            show(
                f"{name}: UAR {found['uar']:.1%}, calibration error {found['ece']:.3f} on "
                f"{found['n_clips']} clips of the test speakers"
            )
    show(f"{out} written.")


@command(extra="train")
def evaluate(
    protocol: Annotated[
        str,
        typer.Argument(
            help="test (the model's own test speakers), table (recordings of your own), intensity "
            f"(from weak to strong), or a protocol: {', '.join(PROTOCOLS)}.",
            autocompletion=one_of("test", "table", "intensity", *PROTOCOLS),
        ),
    ] = "test",
    recipe: Annotated[
        str | None,
        typer.Option(
            help=f"Train this recipe in each fold instead of using --model: {', '.join(RECIPES)}.",
            autocompletion=one_of(*RECIPES),
        ),
    ] = None,
    model: ModelOption = MODEL,
    seeds: SeedsOption = 3,
    data: CustomDataOption = DATA,
    runs: RunsOption = RUNS,
    record: Annotated[
        bool,
        typer.Option(
            help="With test: update the model card. With intensity: add an estimate to --model."
        ),
    ] = False,
    pairs: Annotated[
        list[str] | None,
        typer.Option(
            "--map",
            help="With table: labels of model and table that are one emotion, angry=anger,…; "
            "the same words match without.",
        ),
    ] = None,
    by: Annotated[
        str, typer.Option(help="With table: columns whose values are compared, sex,age,….")
    ] = "",
    predictions: Annotated[
        Path | None,
        typer.Option(
            help="With table: a second system's answers, a CSV with path and label, or that of "
            "predict --csv."
        ),
    ] = None,
) -> None:
    """Evaluate a recipe, trained in each fold, or a model, through the serving pipeline.

    An interrupted run resumes: a fold that already has its record is not trained again. With
    table, --data is a .csv with the columns path and label, and any others for --by.
    """
    for needed, name, value in (
        ("table", "--map", pairs),
        ("table", "--by", by),
        ("table", "--predictions", predictions),
    ):
        if value and protocol != needed:
            raise SerError(f"'{name}' goes with: evaluate {needed}.")
    if record and protocol not in ("test", "intensity"):
        raise SerError("'--record' goes with: evaluate test, or evaluate intensity.")
    if protocol == "table" and recipe is None:
        _evaluate_table(model, data, pairs or (), by, predictions)
    elif protocol == "test" and recipe is None:
        _evaluate_test(model, data, record=record)
    elif protocol == "intensity" and recipe is None and record:
        _add_intensity(model, data)
    elif protocol == "intensity" and recipe is None:
        _evaluate_intensity(data, runs)
    else:
        _evaluate_protocol(protocol, recipe, model, data, seeds=range(seeds), runs=runs)


def _evaluate_intensity(data: Path, runs: Path) -> None:
    """Measure how well weak and strong clips of unseen speakers can be told apart."""
    from ser_lab.evaluate.records import INTENSITY, write_text

    check_output(runs / INTENSITY, lambda path: "corpora" in json.loads(path.read_text("utf-8")))
    with quiet_native_code():
        from ser_lab.evaluate.intensity import load_graded, measure_intensity
    record = measure_intensity(load_graded(data))
    write_text(runs / INTENSITY, json.dumps(record, indent=1) + "\n")
    for corpus, found in record["corpora"].items():
        low, high = found["interval"]
        show(
            f"{corpus}: AUC {found['auc']:.3f} (95% interval {low:.3f} to {high:.3f}) on unseen "
            f"speakers, {found['corpus_unseen']:.3f} with the corpus unseen"
        )


def _add_intensity(model: str, data: Path) -> None:
    """Add an estimate of intensity to a model, and print its figures on the test speakers."""
    from ser_core.registry import resolve

    with quiet_native_code():
        from ser_lab.ship import add_intensity
    manifest = add_intensity(resolve(model).model.folder, data)
    figures = manifest.metrics["intensity"]
    for corpus, found in figures["by_corpus"].items():
        low, high = found["interval"]
        show(
            f"{corpus}: AUC {found['auc']:.3f} (95% interval {low:.3f} to {high:.3f}) on "
            f"{found['n_clips']} clips of {found['n_speakers']} test speakers"
        )
    show(f"{manifest.name} has an intensity, with a calibration error of {figures['ece']:.3f}.")


def _evaluate_test(model: str, data: Path, *, record: bool) -> None:
    """Print the metrics of a model card's test by corpus, or measure and record them again."""
    from ser_lab.evaluate.shipped import evaluate_test, scores_by_corpus

    if record:
        from ser_core.registry import resolve
        from ser_lab.ship import retest

        manifest = retest(resolve(model).model.folder, data)
        show(f"{manifest.name}: UAR {manifest.metrics['test']['uar']:.1%}, card written.")
        return
    predictor = open_model(model)
    _, answers = evaluate_test(predictor, data)
    stated = predictor.manifest.metrics.get("test", {}).get("by_corpus", {})
    for corpus, scores in scores_by_corpus(answers, predictor.labels).items():
        print_scores(corpus, scores)
        if corpus in stated:
            show(f"The model card says UAR {stated[corpus]['uar']:.1%}.")


def _evaluate_table(
    model: str, data: Path, pairs: Sequence[str], by: str, predictions: Path | None
) -> None:
    """Print a model's metrics on a user's own table, and those of a second system."""
    from ser_lab.data.splits import is_table
    from ser_lab.evaluate import custom

    if not is_table(data):
        raise SerError(f"{data} is a folder; expected a .csv table with the columns path, label.")
    columns = [column.strip() for column in by.split(",") if column.strip()]
    table = custom.read_table(data, columns)
    predictor = open_model(model)
    label_map = custom.match_labels(predictor.labels, table["emotion"], custom.parse_pairs(pairs))
    print_label_map(label_map, predictor.labels, Counter(table["emotion"]))
    table = custom.select_clips(table, label_map)
    other = predictions and custom.read_answers(predictions, table, label_map, folder=data.parent)
    ours = custom.predict_clips(predictor, table, label_map)
    for answers in (ours, other) if other else (ours,):
        scores, bins = custom.score_answers(table, answers), custom.bin_answers(table, answers)
        print_answers(answers, scores, bins)
    if columns:
        print_groups(custom.score_groups(table, ours))
    if other:
        print_comparison(ours, other, custom.compare_systems(table, ours, other))


def _evaluate_protocol(
    name: str, recipe: str | None, model: str, data: Path, *, seeds: Sequence[int], runs: Path
) -> None:
    from ser_lab.data.protocols import find_protocol
    from ser_lab.evaluate.runs import run_protocol
    from ser_lab.evaluate.shipped import evaluate_model

    protocol = find_protocol(name)
    check_output(runs / protocol.id, Path.is_dir)
    if recipe is None:
        summary = evaluate_model(open_model(model), protocol, data, runs_folder=runs)
    else:
        with quiet_native_code():
            from ser_lab.train.recipes import find_recipe
        chosen = find_recipe(recipe)
        summary = run_protocol(protocol, chosen, data, seeds=seeds, runs_folder=runs)
    print_summary(summary)


@command(extra="train")
def features(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="INPUT", help="Recording, folder, or .csv with path and perhaps start_s, end_s."
        ),
    ],
    output: Annotated[
        Path, typer.Argument(metavar="OUT", help="Table to write: .csv, .parquet or .npy.")
    ],
    sets: Annotated[
        str,
        typer.Option(
            "--set",
            help=f"One or several of {', '.join(FEATURE_SETS)}: papers,chroma.",
            autocompletion=one_of(*FEATURE_SETS),
        ),
    ] = "papers",
    rows: Annotated[
        Literal["clips", "frames"],
        typer.Option(help="One row with mean and deviation per clip, or one per frame."),
    ] = "clips",
    raw: Annotated[
        bool, typer.Option("--raw", help="Neither normalise the level nor trim silence.")
    ] = False,
) -> None:
    """Extract features of recordings into a table, frame by frame or as statistics of each clip.

    Recordings that have none are reported on stderr, and the exit code is then 2.
    """
    from ser_lab.data.feature_sets import (
        check_table,
        feature_rows,
        find_recordings,
        open_feature_set,
        write_features,
    )

    check_table(output)
    recordings = find_recordings(source)
    with quiet_native_code():
        chosen = open_feature_set(sets.split(","))
    failed: list[str] = []

    def note(name: str, error: SerError) -> None:
        complain(f"{name}: {error}")
        failed.append(name)

    tables = feature_rows(recordings, chosen, rows=rows, is_raw=raw, on_error=note)
    write_features(tables, output)
    show(f"{output} written: {len(recordings) - len(failed)} of {len(recordings)} recordings.")
    if failed:
        raise typer.Exit(BAD_INPUT)


@command(extra="train")
def report(
    runs: RunsOption = RUNS,
    out: Annotated[Path, typer.Option(help="Folder of the report.")] = Path("docs"),
) -> None:
    """Write figures.md, reproduction.md and their charts from the run records."""
    from ser_lab.report.figures import REPORT, write_report
    from ser_lab.reproduce.report import PAGE, write_reproduction

    for name in (REPORT, PAGE):
        check_output(out / name, _is_generated)
    for page in (write_report(runs, out), write_reproduction(runs, out)):
        if page is not None:
            show(f"{page} written.")


def _is_generated(page: Path) -> bool:
    return "Written by `python -m ser_core " in page.read_text(encoding="utf-8")


@command(extra="train")
def explore(
    data: DataOption = DATA,
    out: Annotated[Path, typer.Option(help="Output folder: index.html, figures, tables.")] = (
        Path("runs/explore")
    ),
    corpora: Annotated[
        list[str] | None,
        typer.Option("--corpus", help="One corpus; repeatable.", autocompletion=one_of_corpora),
    ] = None,
    speakers: Annotated[
        list[str] | None,
        typer.Option("--speaker", help="Plot this speaker, such as ravdess/12; repeatable."),
    ] = None,
) -> None:
    """Explore a folder of corpora: one page with figures, and tables of paths and labels."""
    from ser_lab.explore import explore as explore_data

    page = explore_data(data, out, corpora=corpora or (), speakers=speakers or ())
    show(f"{page} written.")


@command(extra="train")
def robustness(
    models: ModelsOption = None,
    data: DataOption = DATA,
    out: Annotated[Path, typer.Option(help="Folder of the document.")] = Path("docs"),
) -> None:
    """Measure how well models cope with altered audio, and write robustness.md."""
    from ser_lab.robustness import measure_robustness, write_robustness
    from ser_lab.robustness.measure import PAGE, RECORD

    check_output(out / PAGE, _is_generated)
    check_output(out / RECORD, lambda path: "machine" in json.loads(path.read_text("utf-8")))
    predictors = [open_model(name) for name in models or ["accurate", "compact"]]
    rows = {p.manifest.name: measure_robustness(p, data) for p in predictors}
    show(f"{write_robustness(rows, out)} written.")


@command(extra="train")
def reproduce(
    name: Annotated[
        str, typer.Argument(help=f"{', '.join(SYSTEMS)}.", autocompletion=one_of(*SYSTEMS))
    ],
    split: Annotated[
        str | None,
        typer.Option(
            help="random (as in the papers) or speaker; default: both.",
            autocompletion=one_of(*SPLITS),
        ),
    ] = None,
    variant: Annotated[str | None, typer.Option(help="One variant; default: all.")] = None,
    seeds: SeedsOption = 1,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Maximum number of epochs; default: the recipe's.")
    ] = None,
    preprocessing: Annotated[
        str,
        typer.Option(
            help="serving, or paper: its level and order as printed (lstm, bilstm).",
            autocompletion=one_of(*PREPROCESSINGS),
        ),
    ] = "serving",
    only: Annotated[
        list[str] | None,
        typer.Option(help="Use clips with this COLUMN=VALUE alone, as in clips.csv; repeatable."),
    ] = None,
    data: DataOption = DATA,
    runs: RunsOption = RUNS,
    out: Annotated[
        Path, typer.Option(help="Folder for curves, matrices, reports, predictions and models.")
    ] = Path("runs/reproduction"),
) -> None:
    """Train a paper's system and compare it with the paper's published figures.

    Missing corpora are reported, and the others are used. Each run writes a record; the
    report command turns all records into docs/reproduction.md.
    """
    with quiet_native_code():
        from ser_lab.reproduce.run import find_jobs, run_job
    jobs = list(
        find_jobs(
            name, variant, split, seeds=range(seeds), epochs=epochs, preprocessing=preprocessing,
            subset=_parse_subset(only or ()),
        )
    )  # fmt: skip
    for job in jobs:
        check_output(out / job.place, lists_its_files)
    check_output(runs / name, Path.is_dir)
    for job in jobs:
        show(run_job(job, data, runs_folder=runs, out=out))


def _parse_subset(conditions: Sequence[str]) -> dict[str, str]:
    """Return value by column of conditions such as `repetition=first`."""
    subset = {}
    for condition in conditions:
        column, equals, value = condition.partition("=")
        if not equals or not value:
            raise SerError(f"{condition!r} is no condition; write --only COLUMN=VALUE.")
        subset[column] = value
    return subset


@command(data_app, extra="train")
def fetch(
    names: Annotated[
        list[str], typer.Argument(help=f"{', '.join(CORPORA)}.", autocompletion=one_of_corpora)
    ],
    data: DataOption = DATA,
) -> None:
    """Download corpora from their publishers; an interrupted download resumes.

    The licence and citation are shown before anything is downloaded.
    """
    from ser_lab.fetch import fetch_corpus, find_source

    sources = [find_source(name) for name in names]
    for source in sources:
        show(source.describe())
    _show_states([fetch_corpus(source, data) for source in sources], must_be_complete=True)


@command(data_app, extra="train")
def place(
    name: Annotated[
        str, typer.Argument(help="The corpus, such as savee.", autocompletion=one_of_corpora)
    ],
    path: Annotated[Path, typer.Argument(help="The zip or folder that you downloaded.")],
    data: DataOption = DATA,
) -> None:
    """Install a corpus that you downloaded yourself."""
    from ser_lab.fetch import find_source, place_corpus

    source = find_source(name)
    show(source.describe())
    _show_states([place_corpus(source, path, data)], must_be_complete=True)


@command(data_app, extra="train")
def check(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            help="Corpora that must be complete; default: show all.", autocompletion=one_of_corpora
        ),
    ] = None,
    data: DataOption = DATA,
) -> None:
    """Compare the clips found with the publishers' counts.

    The exit code is 2 if a named corpus is incomplete.
    """
    from ser_lab.fetch import check_corpora

    _show_states(check_corpora(data, names or ()), must_be_complete=bool(names))


def _show_states(states: "Sequence[CorpusState]", *, must_be_complete: bool) -> None:
    print_states(states)
    if must_be_complete and not all(state.whole for state in states):
        raise typer.Exit(BAD_INPUT)
