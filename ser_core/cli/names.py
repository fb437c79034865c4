"""The names that arguments take, for help texts and for the shell to complete.

The rooms that know them import Keras, which nobody waits for at a press of the Tab key; a test
holds these against those.
"""

from collections.abc import Callable

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
CORPORA = ("ravdess", "ravdess-song", "tess", "crema-d", "savee", "jl-corpus", "emo-db")


def one_of(*names: str) -> Callable[[str], list[str]]:
    """For `autocompletion=`: those of the names that go on as what is typed begins.

    Where there are none the shell offers files, which is right for a model folder.
    """

    def complete(incomplete: str) -> list[str]:
        return [name for name in names if name.startswith(incomplete)]

    return complete
