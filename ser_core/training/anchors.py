"""What others published, to stand beside our figures: one line a system and protocol."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Anchor:
    """A published figure.

    Attributes:
        protocol: Name of the protocol that it stands beside.
        system: What was measured, with its parameters where known.
        value: The figure, a share between 0 and 1.
        source: Who published it, and what differs from the protocol.
    """

    protocol: str
    system: str
    value: float
    source: str


_EMOBOX = "Ma et al. 2024, EmoBox"
_RESLSTM = "Krasnoproshin and Vashkevich 2026, ResLSTM-SA"
_LISTENERS = "Livingstone and Russo 2018, RAVDESS; approximate"
_CNN14 = "Luna-Jiménez et al. 2021"
_XLSR = "Luna-Jiménez et al. 2022"
_TUNED = "published, fine-tuned with augmentation"
_VOTES = "Cao et al. 2014, CREMA-D"
_SHARED = "speakers shared"
_OWN_FOLDS = "other folds of actors"

ANCHORS: tuple[Anchor, ...] = (
    Anchor("ravdess-6fold", "human listeners, audio only", 0.60, _LISTENERS),
    Anchor("ravdess-6fold", "wav2vec2-base, frozen (95 M)", 0.543, _EMOBOX),
    Anchor("ravdess-6fold", "HuBERT-base, frozen (95 M)", 0.654, _EMOBOX),
    Anchor("ravdess-6fold", "HuBERT-large, frozen (317 M)", 0.700, _EMOBOX),
    Anchor("ravdess-6fold", "WavLM-large, frozen (317 M)", 0.720, _EMOBOX),
    Anchor("ravdess-6fold", "Whisper-large-v3, frozen (1,550 M)", 0.753, _EMOBOX),
    Anchor("ravdess-6fold", "CNN14, fine-tuned (81 M)", 0.766, f"{_CNN14}; {_OWN_FOLDS}"),
    Anchor("ravdess-6fold", "XLSR, fine-tuned (317 M)", 0.818, f"{_XLSR}; {_OWN_FOLDS}"),
    Anchor("ravdess-6fold", "wav2vec2, fine-tuned (317 M)", 0.823, f"{_TUNED}; {_OWN_FOLDS}"),
    Anchor("ravdess-5fold", "human listeners, audio only", 0.60, _LISTENERS),
    Anchor("ravdess-5fold", "attention LSTM, from scratch (0.09 M)", 0.583, _RESLSTM),
    Anchor("ravdess-5fold", "ResLSTM-SA, from scratch (0.05 M)", 0.623, f"{_RESLSTM}; ± 1.2"),
    Anchor("ravdess-5fold", "CNN14, fine-tuned (81 M)", 0.766, _CNN14),
    Anchor("ravdess-5fold", "XLSR, fine-tuned (317 M)", 0.818, _XLSR),
    Anchor("crema-d", "one listener, audio only", 0.400, _VOTES),
    Anchor("crema-d", "majority of listeners, audio only", 0.446, _VOTES),
    Anchor("crema-d", "wav2vec2-base, frozen (95 M)", 0.620, f"{_EMOBOX}; {_SHARED}"),
    Anchor("crema-d", "WavLM-large, frozen (317 M)", 0.745, f"{_EMOBOX}; {_SHARED}"),
    Anchor("crema-d", "Whisper-large-v3, frozen (1,550 M)", 0.768, f"{_EMOBOX}; {_SHARED}"),
    Anchor("cross-corpus", "Whisper-large-v3, SAVEE → RAVDESS", 0.496, f"{_EMOBOX}; its best"),
    Anchor("cross-corpus", "Whisper-large-v3, RAVDESS → SAVEE", 0.669, f"{_EMOBOX}; its best"),
    Anchor("random-split", "two LSTM of 64 units", 0.6975, "the first paper of five"),
    Anchor("random-split", "the same net, the public notebook", 0.845, "its printed 136 of 161"),
    Anchor("random-split", "the same net, the report", 0.9628, "the report on the notebook"),
)
"""Published figures by protocol; those beside `random-split` are accuracies, all others UAR."""
