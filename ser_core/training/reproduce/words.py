"""What the page of reproductions says beside its figures."""

INTRODUCTION = """\
# The papers' figures, reproduced

Written by `python -m ser_core report` from the run records in [{runs}]({runs}); never by hand. This
project grew out of five student systems for speech emotion recognition. Each of them can be trained
here with one command, `python -m ser_core reproduce NAME`, in two ways:

- **speakers shared**, as in the papers: clips are split at random, so the same people speak in the
  training and the test clips;
- **unseen speakers**: nobody who speaks in a test clip was used for training or for choosing the
  epoch. This is the situation of an app, whose visitors are new to it.

The corpora, features, network and optimiser are the same in both.
"""

LESSON = """\
## How to read a high figure

Take `{name}`, {title}.
Its paper reports up to {paper}. Ours, after {epochs} epochs, reaches {shared} with shared
speakers and {unseen} with unseen ones: {points} points less, where guessing gives {chance}.
Nothing is wrong with the network, and nobody cheated: the two tests answer different questions.

RAVDESS repeats each sentence twice with each emotion, and TESS consists of two women who say one
phrase two hundred times. When clips are split at random, almost every test clip has a twin in the
training set: the same woman, the same phrase, the same day. A network can score well by recognising
how these people sound, without generalising to new voices.

The two tests contain different clips, so compare them on RAVDESS alone, which is in both:
{known} with shared speakers, {strange} with unseen ones. TESS can only be
tested with shared speakers, and it is the source of the high figures.

Three questions to ask of any figure: Are the test speakers unseen? Were augmented copies made only
after the test clips were set aside? Was the epoch chosen without looking at the test set?
"""

TABLE = """\
## Results

Accuracy is the share of correct test clips, as in the papers; UAR is the mean of the per-emotion
recalls. The gap is the accuracy lost on unseen speakers; the next column gives the same on RAVDESS
clips alone, because TESS is in no test of unseen speakers. With several seeds: the mean ± its
standard deviation; each seed makes its own split and tests other RAVDESS actors.
"""

HOW = """\
Reproduce a row with `python -m ser_core reproduce NAME --split random|speaker --seeds N`. Training
time excludes features and was measured on a core shared with other work, so it does not compare
networks.

The epoch with the best development result is kept; with unseen speakers, the development speakers
are unseen too. Each run also writes curves, confusion matrices, classification reports, a table of
random clips with their predictions, and the model, which `python -m ser_core predict --model`
opens. These files are not part of the repository.

Unseen speakers are four RAVDESS actors per seed (EmoBox's folds) and, where CREMA-D is used, its 19
test actors. TESS's two women are always in the training set: there are too few to hold out. The
recordings used were copies at 16 kHz; those of CREMA-D were reconstructed from mel spectrograms.
"""

CORPORA = """\
## By corpus

Accuracy on the test clips of each corpus. TESS is the source of the high figures; RAVDESS and
CREMA-D can be compared between rows.
"""

COPIES = """\
## Copies made before and after the split

`mfcc-lstm` uses three augmented copies of each clip: with noise, at another pitch, at another
speed. When they are made before the split, as in the paper, copies of most test clips are in the
training set.

| copies | speakers shared | unseen speakers |
| --- | --- | --- |
| none | {none_shared} | {none_unseen} |
| of training clips, after the split | {after_shared} | {after_unseen} |
| of all clips, before the split | {before_shared} | {before_unseen} |
"""

UNHEARD = """\
## An unseen corpus

The paper of `cnn`, `dual-rnn` and `svm` also tried JL-Corpus, which none of them was trained on,
but reported no figure. Only emotions that both label sets share are scored.
"""

DIFFERENT = """\
## Differences from the papers

No reproduction was tuned to match its paper. Where a paper leaves something open, we made the
simple choice, once.
"""

BESIDE = """\
## Results on unseen speakers

Our two models and published results, with unseen speakers unless the source says otherwise;
[figures.md](figures.md) has the details.
"""
