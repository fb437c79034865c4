"""The model card: written from the manifest, so that it says what was measured."""

from pathlib import Path
from typing import Any

import numpy as np

from ser_core.manifest import Manifest

CARD = "README.md"
FIGURES = "figures"

_CAPTIONS = {
    "confusion_test": "Confusion on the test speakers",
    "confusion_development": "Confusion on the development speakers",
    "curves": "Loss and accuracy by epoch",
}

_CARD = """\
---
license: {licence_tag}
language: en
library_name: tf-keras
pipeline_tag: audio-classification
tags:
  - speech-emotion-recognition
  - lstm
metrics:
  - recall
  - accuracy
---

# MoodMirror `{name}` {version}

Hears one recording of speech and gives probabilities for {labels}.

| | |
|---|---|
| network | {network} |
| parameters | {n_parameters:,} |
| input | {columns} per frame of {frame_ms:.0f} ms every {hop_ms:.0f} ms, at {rate_hz:,} Hz |
| seed of this file | {seed}, the best of {n_seeds} on the development speakers |
| temperature | {temperature:.3f}, fitted on the development speakers |
| code | commit `{commit}` |
| licence of the weights | {licence} |

## Whose voices it learned from

{corpora}

Development speakers, who chose the epoch, the seed and the temperature: {development}.
Test speakers, never seen before the figures below: {test}.

## Figures on the test speakers

{n_clips:,} clips, each sent as a file through the path that serves visitors.

| figure | this file | all seeds |
|---|---|---|
| UAR, mean of the per-emotion recalls | **{uar:.1%}** (95 % interval {low:.1%} to {high:.1%}) | \
{seed_mean:.1%} ± {seed_sd:.1%} ({seed_list}) |
| WAR, share of clips that are right | {war:.1%} | |
| expected calibration error, 15 bins | {ece:.3f} | |

| test speakers of | clips | emotions | UAR | WAR | calibration error |
|---|---|---|---|---|---|
{by_corpus}

The upper table takes all clips together among {n_labels} emotions, of which guessing gets
{chance:.1%}; the lower one takes each corpus among the emotions that it has. Repeat with:

```
{command}
```

| emotion | precision | recall | F1 | clips |
|---|---|---|---|---|
{per_emotion}

{pictures}

The interval draws clips with replacement; the spread over seeds is a standard deviation over
{n_seeds} runs of the same recipe. Four test actors of RAVDESS are few: another four may move the
figure by ten points.

## Limits

- The corpora are acted, in English, in studios, by a few dozen people. Real feelings are subtler,
  and other languages, ages, microphones and rooms were not heard.
- It hears the style of a voice, not what a person feels.
- It always answers with one of its emotions, even where none of them fits.

## Not for

Policing, hiring, grading, surveillance, medical or psychological diagnosis, or any decision about
a person.

## Sources

{citations}
"""


def write_card(folder: Path) -> None:
    """Write `README.md` of a model folder from its manifest.

    Args:
        folder: A model folder whose manifest holds test figures.
    """
    manifest = Manifest.read(folder)
    pictures = "\n".join(
        f"![{caption}]({FIGURES}/{name}.png)"
        for name, caption in _CAPTIONS.items()
        if (folder / FIGURES / f"{name}.png").exists()
    )
    card = _CARD.format(**_fields(manifest), **_figures(manifest), pictures=pictures)
    (folder / CARD).write_text(card, encoding="utf-8")


def _fields(manifest: Manifest) -> dict[str, Any]:
    """What the model is."""
    pipeline = manifest.pipeline
    rate_hz = pipeline.audio.sample_rate_hz
    return {
        "name": manifest.name,
        "version": manifest.version,
        "licence": manifest.licence,
        "licence_tag": manifest.licence.lower(),
        "labels": ", ".join(manifest.labels),
        "n_labels": len(manifest.labels),
        "network": _network(manifest),
        "n_parameters": manifest.n_parameters,
        "columns": f"{len(manifest.columns)} columns ({', '.join(pipeline.features.groups)})",
        "frame_ms": 1_000 * pipeline.features.frame_length / rate_hz,
        "hop_ms": 1_000 * pipeline.features.hop_length / rate_hz,
        "rate_hz": rate_hz,
        "seed": manifest.seed,
        "temperature": manifest.temperature,
        "commit": manifest.commit,
        "corpora": "\n".join(
            f"- {c['title']} (`{c['name']}`), {c['n_training_clips']:,} clips, {c['licence']}"
            for c in manifest.corpora
        ),
        "citations": "\n".join(f"- {c['citation']} <{c['source']}>" for c in manifest.corpora),
        "development": ", ".join(manifest.split["development"]),
        "test": ", ".join(manifest.split["test"]),
    }


def _network(manifest: Manifest) -> str:
    """The network in a line."""
    architecture = manifest.architecture
    if "network" in architecture:
        network = architecture["network"]
        return f"LSTM layers of {network['units']} units, dropout {network['dropout']}"
    networks = architecture["training"]["networks"]
    if manifest.encoder is None:
        (network,) = networks
        return (
            f"convolutions of {network['filters']} filters over time under BiLSTM layers of "
            f"{network['units']} units each way with attentive pooling, taught by the accurate "
            "model"
        )
    blocks = ", ".join(str(block) for block in manifest.encoder.blocks)
    heads = ", ".join(
        f"a BiLSTM of {head['units']} units each way" if head["units"] else "none"
        for head in networks
    )
    return (
        f"blocks {blocks} of the encoder of `{manifest.encoder.repo}` (MIT, 8.2 million "
        f"parameters, as published), under {len(networks)} heads with attentive pooling whose "
        f"logits are averaged (memory: {heads}); the parameters below are the heads'"
    )


def _figures(manifest: Manifest) -> dict[str, Any]:
    """What was measured."""
    test: dict[str, Any] = manifest.metrics["test"]
    uars = np.array(list(test["seed_uars"].values()))
    return {
        "n_seeds": len(uars),
        "seed_mean": uars.mean(),
        "seed_sd": uars.std(ddof=1) if len(uars) > 1 else 0.0,
        "seed_list": ", ".join(f"{uar:.1%}" for uar in uars),
        "low": test["uar_interval"][0],
        "high": test["uar_interval"][1],
        "chance": 1.0 / len(manifest.labels),
        "per_emotion": "\n".join(
            f"| {label} | {row['precision']:.1%} | {row['recall']:.1%} | {row['f1']:.1%} "
            f"| {row['support']:.0f} |"
            for label, row in test["per_emotion"].items()
        ),
        "by_corpus": "\n".join(
            f"| {corpus} | {part['n_clips']:,} | {len(part['per_emotion'])} | {part['uar']:.1%} "
            f"| {part['war']:.1%} | {part['ece']:.3f} |"
            for corpus, part in test["by_corpus"].items()
        ),
        **{key: test[key] for key in ("n_clips", "uar", "war", "ece", "command")},
    }
