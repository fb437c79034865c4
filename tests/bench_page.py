"""The page on speed and memory, written from measured figures alone."""

from typing import Any

MODELS = ("compact", "accurate")
LENGTHS_S = (1, 3, 10, 30, 60, 180, 600)
TARGETS = {
    "compact": {"ratio": 25.0, "ms": 12.0, "hours": 300.0, "streams": 40},
    "accurate": {"ratio": 6.0, "ms": 50.0, "hours": 80.0, "streams": 16},
}
STAGES = ("load", "preprocess", "features", "speech", "model")


def document(figures: dict[str, Any]) -> str:
    """The figures as tables."""
    machine = ", ".join(f"{name} {value}" for name, value in figures["machine"].items())
    lines = [
        "# Speed and memory",
        "",
        f"Written by `make bench` ({machine}); medians of one run, made-up speech.",
        "",
        "## A clip of 3 s, warm",
        "",
        "| path | cores | ms | load | preprocess | features | speech or not | model | "
        "times faster | target |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for cores in (1, 2):
        told = figures[f"warm_{cores}"]
        lines.append(f"| the papers' | {cores} | {told['papers']['ms']:.0f} | | | | | | 1 | |")
        for model in MODELS:
            row, target = told[model], TARGETS[model]
            stages = " | ".join(f"{row[f'{stage}_ms']:.1f}" for stage in STAGES)
            lines.append(
                f"| `{model}` | {cores} | {row['ms']:.1f} | {stages} | {row['ratio']:.0f} | "
                f"≥ {target['ratio']:.0f}, ≤ {target['ms']:.0f} ms |"
            )
    lines += [
        "",
        "## The floor, one core",
        "",
        "| stage | operations | weights | at a matrix product's pace | measured | times above |",
        "|---|---|---|---|---|---|",
    ]
    for model in MODELS:
        for stage, row in figures["floor"][model]["stages"].items():
            measured = figures["warm_1"][model][f"{stage}_ms"]
            lines.append(
                f"| `{model}`, {stage} | {row['operations'] / 1e6:,.0f} million | "
                f"{row['weights_bytes'] / 1e6:.1f} MB | "
                f"{row['floor_ms']:.2f} ms | {measured:.1f} ms | {measured / row['floor_ms']:.1f} |"
            )
    pace = figures["floor"][MODELS[0]]["gflop_per_s"]
    lines += ["", f"TensorFlow multiplies two matrices of 1,024 at {pace:.0f} GFLOP/s on one core."]
    lines += ["", "## Against length, two cores", ""]
    lines.append("| model | " + " | ".join(f"{s} s" for s in LENGTHS_S) + " |")
    lines.append("|---" * (1 + len(LENGTHS_S)) + "|")
    for model in MODELS:
        row = figures["lengths"][model]
        cells = [
            f"{row[str(s)]['ms']:.0f} ms, {row[str(s)]['resident_mb']:.0f} MB" for s in LENGTHS_S
        ]
        lines.append(f"| `{model}` | {' | '.join(cells)} |")
    lines += [
        "",
        "## Throughput and streams",
        "",
        "| model | audio hours per core-hour | target | streams within 1 s of lag, two cores | "
        "answers a second for each | target |",
        "|---|---|---|---|---|---|",
    ]
    for model in MODELS:
        live, target = figures["live"][model], TARGETS[model]
        kept = live["by_streams"].get(str(live["streams"]), {"answers_per_stream_s": 0.0})
        lines.append(
            f"| `{model}` | {figures['throughput'][model]['hours_per_core_hour']:.0f} | "
            f"≥ {target['hours']:.0f} | {live['streams']} | "
            f"{kept['answers_per_stream_s']:.1f} | ≥ {target['streams']} |"
        )
    lines += ["", "## Start, two cores", ""]
    for model in MODELS:
        steps, page = dict(figures["start"][model]), figures["page"][model]
        steps.pop("process_s")
        told = ", ".join(f"{step} {seconds:.1f} s" for step, seconds in steps.items())
        lines.append(f"- `{model}`, a process: {told}.")
        lines.append(
            f"- `{model}`, the page: there after {page['page']:.1f} s, first answer "
            f"{page['first answer']:.1f} s later (target: 15 s in all); "
            f"{page['resident_mb']:.0f} MB resident after thirty answers (target: 1,000), "
            f"{page['own_mb']:.0f} MB of them its own and the rest libraries' files."
        )
    return "\n".join(lines) + "\n"
