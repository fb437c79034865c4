"""The jobs that the command line asks for, one training each."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from ser_core.errors import SerError
from ser_core.training.reproduce.outputs import write_outputs
from ser_core.training.reproduce.papers import PAPERS
from ser_core.training.reproduce.recipes import find_reproductions
from ser_core.training.reproduce.run import Job, reproduce
from ser_core.training.reproduce.sides import SPLITS


def find_jobs(
    family: str,
    variant: str | None,
    split: str | None,
    *,
    seeds: Sequence[int],
    epochs: int | None = None,
) -> Iterator[Job]:
    """Every training of a system, split by split and seed by seed.

    Args:
        family: Name of the system.
        variant: One of its variants; all where None.
        split: `random` or `speaker`; both where None.
        seeds: One training each.
        epochs: At most so many, where the recipe has more.

    Raises:
        SerError: A name is unknown.
    """
    splits = [known for known in SPLITS if split in (None, known)]
    if not splits:
        raise SerError(f"{split!r} is not a split; known: {', '.join(SPLITS)}.")
    for recipe in find_reproductions(family, variant):
        for chosen in splits:
            for seed in seeds:
                yield Job(recipe, chosen, seed, epochs)


def run_job(job: Job, data: Path, *, runs_folder: Path, out: Path) -> str:
    """Train, write record and outputs, and say in a line what came of it.

    Args:
        job: What is trained.
        data: Folder that holds a folder for each corpus.
        runs_folder: Folder of all run records.
        out: Folder of the outputs, which lie in `NAME/SPLIT/seed-N` there.

    Raises:
        CorpusError: No corpus of the recipe is here, or a side would be empty.
    """
    folder = out / job.place
    done = reproduce(job, data, logs=folder / "logs")
    write_outputs(done, folder)
    path = done.record.write(runs_folder)
    record, paper = done.record, PAPERS[job.recipe.name]
    heard = "speakers shared" if job.split == "random" else "unseen speakers"
    parts = [
        f"{record.name}, {heard}, seed {job.seed}: {record.test['war']:.1%} right, "
        f"UAR {record.test['uar']:.1%}, of {record.test['n_clips']:,} clips; "
        f"the paper has {paper.told}.",
        *(f"{corpus}, never heard: UAR {f['uar']:.1%}." for corpus, f in record.unseen.items()),
    ]
    if missing := record.corpora["missing"] + record.corpora["unseen_missing"]:
        parts.append(f"Missing in {data}: {', '.join(missing)}.")
    return " ".join([*parts, f"{path} and {folder} written."])
