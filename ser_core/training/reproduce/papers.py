"""What the papers printed: one entry a recipe, to stand beside ours."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Paper:
    """Published figures of one system.

    Attributes:
        title: The system in a few words.
        accuracies: Printed of one and the same system, shares between 0 and 1; may be empty.
        told: The same with what belongs to it, for a reader.
        epochs: How long it was trained, as far as is known.
        differs: What ours does otherwise, and why.
        stands: Likely reason where ours lies above or below the paper; may be empty.
    """

    title: str
    accuracies: tuple[float, ...]
    told: str
    epochs: str
    differs: str
    stands: str = ""


_RATE = (
    "One rate, 16 kHz, where the paper mixed 48 and 24.4 kHz, so 113 frames hold the 3.6 s that "
    "its 339 hold at 48 kHz; noise is reduced before the padding, as serving does it, not after."
)
_SCALED = (
    "The paper does not say whether features are scaled; ours are. Layer widths that it leaves "
    "open are our choice."
)
_OPEN = (
    "The paper gives neither the number of MFCC nor layer widths; we use librosa's 20, and 128 and "
    "64."
)

PAPERS: dict[str, Paper] = {
    "lstm": Paper(
        "two LSTM of 64 units over RMS, ZCR and 13 MFCC",
        (0.6975, 0.845, 0.9628),
        "69.75%; another run of the same network 96.28%, its public notebook 84.5%",
        "100 (notebook 340)",
        _RATE,
        "Between the paper's three figures, which are 27 points apart.",
    ),
    "bilstm": Paper(
        "the same, bidirectional and flattened",
        (0.9628,),
        "96.28% (97.83% on development clips)",
        "not stated",
        _RATE,
        "Lower: the paper's figure is identical to the one it gives for another run of the "
        "unidirectional network, and 161 test clips are few.",
    ),
    "mfcc-lstm-no-copies": Paper(
        "LSTM 128 and 64 over the means of 13 MFCC",
        (0.35,),
        "under 35%",
        "not stated",
        "Dropout rates and batch size are our choice.",
    ),
    "mfcc-lstm-copies-after": Paper(
        "the same, with copies of training clips only",
        (),
        "no figure: the paper did not try this",
        "–",
        "The kinds of augmentation are the paper's; their strength is our choice.",
    ),
    "mfcc-lstm-copies-before": Paper(
        "the same, with copies made before the split",
        (0.55,),
        "55%",
        "50, patience 5",
        "The kinds of augmentation are the paper's; their strength is our choice.",
        "Higher: our augmentation may be milder, so a test clip is closer to its copies.",
    ),
    "mfcc-lstm-copies-before-256": Paper(
        "the same with LSTM 256 and 64",
        (0.73,),
        "73%",
        "125 of 200, patience 10",
        "The kinds of augmentation are the paper's; their strength is our choice.",
    ),
    "cnn": Paper(
        "two convolution branches over mel and MFCC means",
        (0.62,),
        "62% (85% on training clips)",
        "not stated",
        _SCALED,
    ),
    "dual-rnn": Paper(
        "two recurrent branches over mel and MFCC means",
        (0.43,),
        "43%",
        "not stated",
        _SCALED,
        "Higher: half of the difference is gone without feature scaling, which the paper may lack.",
    ),
    "svm": Paper(
        "linear SVM over mel and MFCC means",
        (0.38,),
        "38%",
        "–",
        _SCALED,
        "Higher: a linear SVM on features of very different scales, such as mel power and MFCC, "
        "hardly converges, and the paper may not have scaled them.",
    ),
    "hybrid-lstm-plain": Paper(
        "LSTM over the means of 20 MFCC, all emotions",
        (0.67,),
        "67% at loss 1.22",
        "best at 90",
        _OPEN,
        "Lower: two thirds of the clips are from CREMA-D, the hardest corpus, here reconstructed "
        "from mel spectrograms, and SAVEE is missing.",
    ),
    "hybrid-lstm-regularised": Paper(
        "the same with early stopping and L2",
        (),
        "worse than without, no figure",
        "not stated",
        _OPEN,
    ),
}
"""By the name of the recipe."""
