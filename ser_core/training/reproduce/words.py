"""What the page of reproductions says beside its figures."""

INTRODUCTION = """\
# The papers' figures, and what becomes of them

Written by `python -m ser_core report` from the run records in [{runs}]({runs}); never
by hand. This project grew from five student systems that recognise emotion in speech. Each of them
can be run here with one command, `python -m ser_core reproduce NAME`, in two ways:

- **speakers shared**, as the papers tested: clips are drawn at random, so that the test clips are
  spoken by the very people whom the network was trained on;
- **unseen speakers**: nobody who speaks in a test clip was trained on, nor used to choose the
  epoch. That is what a visitor of an app is: a stranger.

Corpora, sound, features, network and optimiser stay the same.
"""

LESSON = """\
## If you believe the high figure

Take `{name}`, {title}.
Its paper prints up to {paper}. Ours, after {epochs} epochs, reaches {shared} when it knows the
speakers, and {unseen} when it does not: {points} points less, where guessing gives {chance}.
Nothing is wrong with the network, and nobody cheated; the question was another one.

RAVDESS repeats each sentence twice with each emotion, and TESS is two women who say one phrase two
hundred times. When clips are drawn at random, almost every test clip has a twin among the training
clips: the same woman, the same phrase, the same day. A network that has learned how these people
sound answers well, and has learned little about a voice that it never heard.

The two tests do not hold the same clips, so look at RAVDESS alone, which both hold:
{known} among known voices, {strange} among strangers. TESS can only be
tested with shared speakers, and it is where high figures come from.

Three questions to ask of any figure: Are the test speakers strangers? Were copies of clips made
only after the test clips were set aside? Was the epoch chosen without looking at the test?
"""

TABLE = """\
## The table

Accuracy is the share of test clips that are right, as the papers give it; UAR is the mean of the
per-emotion recalls. The gap is the accuracy lost on unseen speakers; beside it stands the same on
RAVDESS's clips alone, because TESS is in no test of unseen speakers. Several seeds: the mean ± its
standard deviation; each seed draws anew, and tests other RAVDESS actors.
"""

HOW = """\
`python -m ser_core reproduce NAME --split random|speaker --seeds N` repeats a line. Training is the
time on the clock of a core that was shared with other work, features apart, and no measure of the
network.

The epoch that did best on development clips is kept; with unseen speakers these are strangers too.
Each run also leaves, outside of the repository, its curves, confusion matrices, classification
reports, a table of random clips with their answers, and the model, which
`python -m ser_core predict --model` opens.

Unseen speakers are four RAVDESS actors a seed (EmoBox's folds) and, where CREMA-D is learned from,
its 19 test actors. TESS's two women are always learned from: there are too few to hold out. The
recordings at hand were copies at 16 kHz, CREMA-D's rebuilt from mel spectrograms.
"""

CORPORA = """\
## Corpus by corpus

Accuracy on the test clips of each corpus. TESS is where high figures come from; RAVDESS and
CREMA-D can be compared from line to line.
"""

COPIES = """\
## Copies before and after the draw

`mfcc-lstm` has three copies of each clip: with noise, at another pitch, at another speed. Made
before the test clips are drawn, as in the paper, copies of most test clips are trained on.

| copies | speakers shared | unseen speakers |
| --- | --- | --- |
| none | {none_shared} | {none_unseen} |
| of training clips, after the draw | {after_shared} | {after_unseen} |
| of all clips, before the draw | {before_shared} | {before_unseen} |
"""

UNHEARD = """\
## A corpus never heard

The paper of `cnn`, `dual-rnn` and `svm` also tried JL-Corpus, which none of them learned from, and
printed no figure. Emotions that both sides know are scored.
"""

DIFFERENT = """\
## What ours does otherwise

No reproduction was tuned until it met its paper. Where the paper leaves something open, the plain
choice was made once.
"""

BESIDE = """\
## What stands on the other side

Speakers unseen throughout, but where a source says otherwise. Our two models, and what others
published; [figures.md](figures.md) has the whole account.
"""
