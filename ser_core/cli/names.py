"""The names that arguments take, for help texts and for the shell to complete.

Most rooms that know them import Keras, which nobody waits for at a press of the Tab key: their
names stand here again, and a test holds these against those.
"""

from collections.abc import Callable

from ser_core import corpora

MODELS = ("auto", "accurate", "compact")
RECIPES = ("lstm", "accurate", "compact")
PROTOCOLS = (
    "ravdess-6fold",
    "ravdess-5fold",
    "crema-d",
    "cross-corpus",
    "leave-one-corpus-out",
    "random-split",
)
SYSTEMS = ("lstm", "bilstm", "mfcc-lstm", "cnn", "dual-rnn", "svm", "hybrid-lstm")
SPLITS = ("random", "speaker")
CORPORA = tuple(corpora.CORPORA)


def one_of(*names: str) -> Callable[[str], list[str]]:
    """For `autocompletion=`: those of the names that go on as what is typed begins.

    Where there are none the shell offers files, which is right for a model folder.
    """

    def complete(incomplete: str) -> list[str]:
        return [name for name in names if name.startswith(incomplete)]

    return complete
