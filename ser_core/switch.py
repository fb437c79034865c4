"""The model that answers while the app runs, and how a better one takes its place."""

import logging
import threading
from collections.abc import Callable
from enum import Enum, auto
from typing import Self

from ser_core.audio.load import AudioSource
from ser_core.config import PipelineConfig
from ser_core.errors import ModelError, SerError
from ser_core.explain import Moment, explain
from ser_core.model.manifest import Manifest
from ser_core.prediction import Analysis, Prediction
from ser_core.predictor import OnResult, Predictor
from ser_core.registry import ACCURATE, AUTO, COMPACT, find_folder, open_predictor
from ser_core.whisper.weights import OfflineError

logger = logging.getLogger(__name__)


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
        self._on_result: OnResult | None = None
        if isinstance(first, Manifest):
            self._manifest = first
        else:
            self._settle_on(first)

    def _settle_on(self, predictor: Predictor) -> None:
        predictor.on_result = self._on_result
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
            logger.warning("Still using the %s model. %s", self.manifest.name, error)
            self.state = ModelState.OFFLINE
        except Exception as error:
            is_bug = not isinstance(error, SerError)
            logger.warning(
                "Still using the %s model. %s", self.manifest.name, error, exc_info=is_bug
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
                f"The {name} model is not available here, only {' and '.join(self._open)}. "
                "Choose another, or try again in a minute."
            )
        return self._open[name]

    def watch(self, watcher: OnResult) -> None:
        """Let somebody learn what becomes of each recording, whichever model judges it."""
        self._on_result = watcher
        for predictor in list(self._open.values()):
            predictor.on_result = watcher

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
