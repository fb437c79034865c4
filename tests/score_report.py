"""docs/scale.md from the figures of `python -m tests.score_bench`."""

from typing import Any

ARCHIVE_HOURS = 1_000_000
CORE_HOUR_USD = (0.01, 0.05)
"""Assumed, not measured: what a rented core-hour costs, interrupted at will or kept."""
CORES = 64
WAV_BYTES_PER_S = 2 * 16_000
SHARD_BYTES = 1e9
RUN_HOURS = 10_000
"""Of an archive taken in runs of their own, so much a run."""


def rate_of(figures: dict[str, Any], title: str) -> float:
    """Clips a second after the first part."""
    row = figures["runs"][title]
    return float((row["clips_done"] - figures["part"]) / row["steady_s"])


def rate_of_core(figures: dict[str, Any], title: str) -> float:
    """Clips in a second of a core's time, after the first part."""
    row = figures["runs"][title]
    return float((row["clips_done"] - figures["part"]) / row["steady_cpu_s"])


BUSY_LOAD = 0.5
"""Load of the machine before the runs from which on other work is told of."""


def document(figures: dict[str, Any]) -> str:
    """The figures as tables, and what follows from them for a million hours."""
    machine = ", ".join(f"{name} {value}" for name, value in figures["machine"].items())
    clip_s = 3_600 * figures["hours"] / figures["clips"]
    is_busy = figures["load_before"] >= BUSY_LOAD
    shared = ", so other work shared its cores" if is_busy else ""
    lines = [
        "# Archives",
        "",
        "`python -m ser_core score INPUT OUTPUT` judges whole archives. Written by `make "
        f"score-bench` ({machine}; the machine's load was {figures['load_before']:.1f} "
        f"before{shared}): "
        f"{figures['clips']:,} clips of made-up speech, {clip_s:.1f} s on average, "
        f"{figures['hours']:.1f} h together, a few hundred under many names; model `compact`; "
        f"parts of {figures['part']} clips.",
        "",
        "| run | clips a second | clips a core-second | audio hours a core-hour | whole run | "
        "until the first part | rows | clips | a worker's memory by thirds, and the most |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for title, row in figures["runs"].items():
        rate, core = rate_of(figures, title), rate_of_core(figures, title)
        memory = ", ".join(f"{mb:.0f}" for mb in (*row["worker_mb"], row["worker_mb_most"]))
        lines.append(
            f"| {title} | {rate:.0f} | {core:.0f} | {core * clip_s:.0f} | {row['seconds']:.0f} s | "
            f"{row['first_part_s']:.0f} s | {row['rows']:,} | {row['clips']:,} | {memory} MB |"
        )
    ratio = rate_of(figures, "two workers") / rate_of(figures, "one worker")
    core_ratio = rate_of_core(figures, "two workers") / rate_of_core(figures, "one worker")
    lines += [
        "",
        "Clips a second are those after the first part, by the clock and by the time that the "
        f"workers had on a core. By the clock two workers were {ratio:.2f} times as fast as one, "
        f"on two cores{' that they shared with the other work' if is_busy else ''}; clips a "
        f"core-second were {core_ratio:.2f} times those of one worker. The worker and the "
        "driver were killed (SIGKILL) half-way, and what opening a model anew took counts in their "
        "rates; rows and clips are those in the folder after the "
        "run, and where they are equal no clip was done twice.",
        "",
    ]
    return "\n".join(lines + _million(figures, clip_s)) + "\n"


def _million(figures: dict[str, Any], clip_s: float) -> list[str]:
    """On paper: an archive of a million hours."""
    hours_per_core_hour = rate_of_core(figures, "two workers") * clip_s
    core_hours = ARCHIVE_HOURS / hours_per_core_hour
    low, high = (core_hours * usd for usd in CORE_HOUR_USD)
    n_clips = ARCHIVE_HOURS * 3_600 / clip_s
    whole = figures["runs"]["one worker"]
    out_gb = n_clips * whole["bytes"] / whole["clips"] / 1e9
    in_tb = ARCHIVE_HOURS * 3_600 * WAV_BYTES_PER_S / 1e12
    read_mb_s = CORES * hours_per_core_hour * WAV_BYTES_PER_S / 1e6
    driver_gb = n_clips * figures["bytes_per_name"] / 1e9
    run_gb = driver_gb * RUN_HOURS / ARCHIVE_HOURS
    parts = n_clips / figures["part"]
    back_s = n_clips * figures["read_back_s"] / whole["clips"]
    return [
        "## A million hours, on paper",
        "",
        "From the figures above, clips of the same length, as WAV with 16 bits at 16 kHz; the "
        f"price of a core-hour, {CORE_HOUR_USD[0]} to {CORE_HOUR_USD[1]} USD, is an assumption.",
        "",
        "| | |",
        "|---|---|",
        f"| one core | {hours_per_core_hour:.0f} audio hours an hour |",
        f"| all of it | {core_hours:,.0f} core-hours, {low:,.0f} to {high:,.0f} USD |",
        f"| on {CORES} cores | {core_hours / CORES:.1f} hours |",
        f"| to be read | {in_tb:,.0f} TB, {read_mb_s:,.0f} MB a second for {CORES} cores |",
        f"| clips | {n_clips / 1e6:,.0f} million |",
        f"| to be written | {out_gb:,.0f} GB in {parts / 1e6:.1f} million parts |",
        f"| names in the driver | {driver_gb:,.0f} GB, if it were one run |",
        f"| reading back what is done | {back_s / 60:,.0f} minutes, if it were one run |",
        "",
        "What would break first, in this order:",
        "",
        f"1. The driver's memory. It holds the name of every clip, twice where it resumes: "
        f"{driver_gb:,.0f} GB. Take the archive in runs of {RUN_HOURS:,} hours, each with an "
        f"OUTPUT of its own: {run_gb:.1f} GB and {back_s * RUN_HOURS / ARCHIVE_HOURS:.0f} s of "
        "reading back each.",
        f"2. Reading. {n_clips / 1e6:,.0f} million single files are as many requests, which in an "
        f"object store cost more than the judging. Pack them into tars of {SHARD_BYTES / 1e9:.0f} "
        f"GB ({in_tb * 1e12 / SHARD_BYTES / 1e3:,.0f} thousand of them), or lossless as FLAC. The "
        "network has to bring what the cores take: keep the workers where the sound lies.",
        "3. The number of parts. Raise `--part`: a killed worker repeats more, readers of "
        "Parquet open fewer files.",
        "4. Clips that kill a worker (a decoder's bug, memory). Each is cut out of its task in a "
        "few rounds and becomes a row with an error; a shard that holds one is read once a round.",
        "",
        "Not measured: more than one machine, and an object store. Ray Data's actors "
        "(`--ray`, on the cluster that `RAY_ADDRESS` names) do the same tasks and pass the same "
        "tests on one machine.",
    ]
