"""Which model answers: chosen by `MOODMIRROR_MODEL`, and exchanged while the app runs."""

import logging
import os
import threading
from collections.abc import Callable
from enum import Enum, auto
from pathlib import Path
from typing import Self

from ser_core.assembly import find_assembly
from ser_core.audio import AudioSource
from ser_core.bundled import bundled
from ser_core.config import PipelineConfig
from ser_core.errors import ModelError, SerError
from ser_core.explain import Moment, explain
from ser_core.hub import OfflineError, fetch_encoder, find_encoder
from ser_core.manifest import FILE_NAME, Manifest
from ser_core.model import KERAS
from ser_core.prediction import Analysis, Prediction
from ser_core.predictor import Predictor, Watcher
from ser_core.remote import SCHEME, fetch_model

logger = logging.getLogger(__name__)

MODEL_VARIABLE = "MOODMIRROR_MODEL"
"""Environment variable with the choice: `auto`, `accurate`, `compact`, a folder or its address."""
AUTO, ACCURATE, COMPACT = "auto", "accurate", "compact"
BUNDLED = bundled("model")
"""Where the project's own models lie."""


def chosen_model() -> str:
    """What `MOODMIRROR_MODEL` says, `auto` where it says nothing."""
    return os.environ.get(MODEL_VARIABLE) or AUTO


def open_predictor(choice: str) -> Predictor:
    """Open a model for good.

    `auto` never waits for the network: it is the accurate model where this machine has
    all that it needs, and the compact one elsewhere.

    Args:
        choice: `auto`, `accurate`, `compact`, a model folder, the `.keras` file in one, or
            `hf://OWNER/NAME@REVISION`.

    Raises:
        OfflineError: The accurate model was asked for by name, its encoder is not on
            this machine, and the Hub cannot be reached.
        ModelError: The model's folder does not match its manifest, or an address leads to
            no such model.
    """
    if choice != AUTO:
        return Predictor.from_folder(find_folder(choice))
    try:
        if _is_at_hand(find_folder(ACCURATE)):
            return Predictor.from_folder(find_folder(ACCURATE))
    except SerError as error:
        logger.warning("The accurate model cannot be used: %s", error)
    return Predictor.from_folder(find_folder(COMPACT))


def settle(choice: str) -> tuple[str, Manifest]:
    """Say which model `open_predictor` takes, without opening it.

    Args:
        choice: As in `open_predictor`.

    Returns:
        The choice with `auto` decided, so that every process opens the same one, and what
        the model says of itself.

    Raises:
        ModelError: The model's folder does not match its manifest.
    """
    if choice == AUTO:
        choice = ACCURATE if _is_at_hand(find_folder(ACCURATE)) else COMPACT
    return choice, _read_manifest(choice)


def fetch_parts(choice: str) -> None:
    """Fetch what a choice needs from the Hub, so that opening it needs no network.

    Args:
        choice: As in `open_predictor`; `auto` fetches nothing.

    Raises:
        OfflineError: The encoder is not on this machine and the Hub cannot be reached.
        ModelError: The model's folder does not match its manifest.
    """
    if choice == AUTO:
        return
    manifest = _read_manifest(choice)
    if manifest.encoder is not None and find_assembly(manifest) is None:
        fetch_encoder(manifest.encoder)


def _read_manifest(choice: str) -> Manifest:
    folder = find_folder(choice)
    return Manifest.read(folder.parent if folder.suffix == KERAS else folder)


def find_folder(choice: str) -> Path:
    """Where a model lies, fetched from the Hub where its address leads there.

    Args:
        choice: As in `open_predictor`, without `auto`.

    Raises:
        ModelError: An address leads to no model.
    """
    if choice.startswith(SCHEME):
        return fetch_model(choice)
    return BUNDLED / choice if choice in (ACCURATE, COMPACT) else Path(choice)


def _is_at_hand(folder: Path) -> bool:
    """Whether a model can be opened without the network."""
    if not (folder / FILE_NAME).is_file():
        return False
    manifest = Manifest.read(folder)
    return (
        manifest.encoder is None
        or find_assembly(manifest) is not None
        or find_encoder(manifest.encoder) is not None
    )


class ModelState(Enum):
    """How the model that answers stands to the one that was wanted."""

    WARMING = auto()
    SETTLED = auto()
    FETCHING = auto()
    OFFLINE = auto()
    FAILED = auto()


class ModelSwitch:
    """Answers like a `Predictor`, and passes to a better one as soon as that is ready.

    Each clip is judged by one model from beginning to end, whenever the change comes.

    Attributes:
        state: `WARMING` until the first model is open; `FETCHING` until the better one is
            ready, then `SETTLED`; `OFFLINE` or `FAILED` where it stays away.
    """

    def __init__(self, first: Predictor | Manifest) -> None:
        """Begin with a predictor, or with the manifest of one that `warm_up` opens."""
        self.state = ModelState.WARMING
        self._open: dict[str, Predictor] = {}
        self._ready = threading.Event()
        self._failure: SerError | None = None
        self._watcher: Watcher | None = None
        if isinstance(first, Manifest):
            self._manifest = first
        else:
            self._settle_on(first)

    def _settle_on(self, predictor: Predictor) -> None:
        predictor.watch = self._watcher
        self._open[predictor.manifest.name] = predictor
        self._predictor, self._manifest = predictor, predictor.manifest
        self.state = ModelState.SETTLED
        self._ready.set()

    @classmethod
    def open(cls, choice: str) -> Self:
        """What an app answers with.

        `auto` opens the compact model behind the page, so that the page is there at once,
        and fetches the accurate one after it; every other choice is opened for good.

        Args:
            choice: `auto`, `accurate`, `compact`, a model folder, or `hf://OWNER/NAME@REVISION`.

        Raises:
            ModelError: The model cannot be opened; under `auto`, the compact one's folder
                does not match its manifest.
        """
        if choice != AUTO:
            return cls(open_predictor(choice))
        switch = cls(Manifest.read(find_folder(COMPACT)))
        better = find_folder(ACCURATE)
        follow = (lambda: Predictor.from_folder(better)) if better.is_dir() else None
        switch.warm_up(lambda: open_predictor(COMPACT), follow)
        return switch

    def warm_up(
        self,
        open_first: Callable[[], Predictor],
        open_better: Callable[[], Predictor] | None = None,
    ) -> None:
        """Open the first model in a thread of its own; who asks before it is open waits.

        Args:
            open_first: Opens it.
            open_better: Opens a better one after it, as `upgrade` does.
        """

        def open_both() -> None:
            try:
                first = open_first()
            except Exception as error:
                logger.exception("The %s model cannot be opened.", self._manifest.name)
                self._failure = ModelError(
                    f"The {self._manifest.name} model cannot be opened: {error}"
                )
                self.state = ModelState.FAILED
                self._ready.set()
                return
            self._settle_on(first)
            if open_better is not None:
                self.upgrade(open_better)

        threading.Thread(target=open_both, daemon=True).start()

    def upgrade(self, open_better: Callable[[], Predictor]) -> None:
        """Pass to another model once it is open and warm, without making anyone wait.

        Args:
            open_better: Opens it, in a thread of its own, however long that takes.
        """
        self.state = ModelState.FETCHING
        threading.Thread(target=self._pass_to, args=(open_better,), daemon=True).start()

    def _pass_to(self, open_better: Callable[[], Predictor]) -> None:
        try:
            self._settle_on(open_better())
        except OfflineError as error:
            logger.warning("The %s model goes on answering. %s", self.manifest.name, error)
            self.state = ModelState.OFFLINE
        except Exception as error:
            is_bug = not isinstance(error, SerError)
            logger.warning(
                "The %s model goes on answering. %s", self.manifest.name, error, exc_info=is_bug
            )
            self.state = ModelState.FAILED

    def pick(self, name: str = AUTO) -> Predictor:
        """One of the models that are open.

        Args:
            name: `auto` for the one that answers now, or a model's own name.

        Raises:
            ModelError: No model of that name is open.
        """
        self._ready.wait()
        if self._failure is not None:
            raise self._failure
        if name == AUTO:
            return self._predictor
        if name not in self._open:
            raise ModelError(
                f"The {name} model is not at hand here; {' and '.join(self._open)} can answer. "
                "Choose another, or try again in a minute."
            )
        return self._open[name]

    def watch(self, watcher: Watcher) -> None:
        """Let somebody learn what becomes of each recording, whichever model judges it."""
        self._watcher = watcher
        for predictor in list(self._open.values()):
            predictor.watch = watcher

    @property
    def is_warm(self) -> bool:
        """Whether a model is open and has judged its first sound, so that nobody waits."""
        return self._ready.is_set() and self._failure is None

    @property
    def manifests(self) -> tuple[Manifest, ...]:
        """What the models that are open say of themselves, the one first opened first."""
        opened = tuple(predictor.manifest for predictor in self._open.values())
        return opened or (self._manifest,)

    @property
    def manifest(self) -> Manifest:
        """What the model that answers now says of itself."""
        return self._manifest

    @property
    def config(self) -> PipelineConfig:
        """Settings of the model that answers now."""
        return self._manifest.pipeline

    def predict(self, source: AudioSource) -> Prediction:
        """See `Predictor.predict`."""
        return self.pick().predict(source)

    def analyse(self, source: AudioSource, *, model: str = AUTO, denoise: bool = False) -> Analysis:
        """See `Predictor.analyse`; `model` is as in `pick`."""
        return self.pick(model).analyse(source, denoise=denoise)

    def explain(
        self, source: AudioSource, *, model: str = AUTO, denoise: bool = False
    ) -> tuple[Analysis, tuple[Moment, ...]]:
        """See `Predictor.analyse` and `ser_core.explain.explain`; one model gives both."""
        predictor = self.pick(model)
        analysis = predictor.analyse(source, denoise=denoise)
        return analysis, explain(analysis, predictor.model)

    def compare(self, source: AudioSource, *, denoise: bool = False) -> tuple[Analysis, ...]:
        """The answer of each model that is open, the one that answers now first."""
        first = self.pick()
        others = [predictor for predictor in self._open.values() if predictor is not first]
        return tuple(p.analyse(source, denoise=denoise) for p in (first, *others))
