"""What the model card says beside its figures."""

CAPTIONS = {
    "confusion_test": "Confusion on the test speakers",
    "confusion_development": "Confusion on the development speakers",
    "calibration": "Accuracy by confidence, test speakers",
    "curves": "Loss and accuracy by epoch",
}
"""What stands below each picture, by its name."""

TEXT = """\
---
license: {licence_tag}
{language}library_name: keras
pipeline_tag: audio-classification
tags:
  - speech-emotion-recognition
  - lstm
metrics:
  - recall
  - accuracy
---

# MoodMirror `{name}` {version}

Takes a speech recording and returns probabilities for {labels}.

| | |
|---|---|
| network | {network} |
| parameters | {n_parameters:,} |
| input | {columns} per frame of {frame_ms:.0f} ms every {hop_ms:.0f} ms, at {rate_hz:,} Hz |
| seed of this file | {seed}, the best of {n_seeds} on the development speakers |
| temperature | {temperature:.3f}, fitted on the development speakers |
| certain | confidence of at least {certainty} |
| size | {size_mb:.1f} MB in this folder{encoder_size} |
| speed | {median_ms:.0f} ms from file to answer, median of {n_timed} clips of about \
{median_clip_s:.1f} s on {machine} |
| code | commit `{commit}` |
| licence of the weights | {licence} |

## Training data

{corpora}

Development speakers, used to choose the epoch, the seed and the temperature: {development}.
Test speakers, used only for the figures below: {test}.

## Figures on the test speakers

{n_clips:,} clips, each analysed as a file by the serving pipeline.

| figure | this file | all seeds |
|---|---|---|
| UAR, mean of the per-emotion recalls | **{uar:.1%}** (95% interval {low:.1%} to {high:.1%}) | \
{seed_mean:.1%} ± {seed_sd:.1%} ({seed_list}) |
| WAR, share of correct clips | {war:.1%} | |
| expected calibration error, 15 bins | {ece:.3f} | |

| test speakers of | clips | emotions | UAR | WAR | calibration error |
|---|---|---|---|---|---|
{by_corpus}

| test speakers of | clips | UAR | WAR |
|---|---|---|---|
{by_sex}

The first table covers all clips and {n_labels} emotions, where guessing gives {chance:.1%}; the
others cover each corpus with the emotions that it contains. Reproduce with:

```
{command}
```

| emotion | precision | recall | F1 | clips |
|---|---|---|---|---|
{per_emotion}

{pictures}

The interval is a bootstrap over clips; ± is the standard deviation over {n_seeds} runs of the same
recipe with different seeds. {n_test} test speakers are few: other speakers may change the figures
by several points.

## Figures by protocol

These figures are not of this file, but of the same recipe, trained in each fold and tested on
unseen speakers or an unseen corpus. `docs/figures.md` in the repository has the settings, the
records and published systems for comparison.

{protocols}

## Limits

- {recorded} Other languages, ages, microphones and rooms were not tested.
- It recognises a style of speaking, not what a person feels.
- It always answers with one of its emotions, even if none of them fits.

## Out of scope

Policing, hiring, grading, surveillance, medical or psychological diagnosis, or any other decision
about a person.

{citations}"""

ACTED = (
    "The corpora are acted, in English, in studios, by a few dozen people. Real feelings are "
    "subtler."
)
"""Whose voices limit a model that learned from published corpora."""
OWN = "It was trained on the recordings of one table only, and on the people who speak in them."
"""Whose voices limit a model that learned from somebody's own table."""
