"""The models of a running app: a first one at once, a better one as soon as it is loaded."""

import logging
import threading
from collections.abc import Callable
from enum import Enum, auto
from functools import partial
from typing import Self

from ser_core.audio.load import AudioSource
from ser_core.config import PipelineConfig, with_limits
from ser_core.errors import ModelError, SerError
from ser_core.explain import Moment, explain
from ser_core.model.manifest import Manifest
from ser_core.prediction import Analysis, Prediction
from ser_core.predictor import OnResult, Predictor
from ser_core.registry import ACCURATE, AUTO, COMPACT, is_bundled, open_predictor, resolve
from ser_core.whisper.weights import OfflineError

logger = logging.getLogger(__name__)

OpenPredictor = Callable[[], Predictor]


class ModelState(Enum):
    """Progress from the first model to the better one."""

    WARMING = auto()
    SETTLED = auto()
    FETCHING = auto()
    OFFLINE = auto()
    FAILED = auto()


class ModelSwitch:
    """Several predictors as one; each clip is analysed by a single one of them.

    Attributes:
        state: `WARMING` until the first model is loaded; `FETCHING` until the better one is,
            then `SETTLED`; `OFFLINE` or `FAILED` where it cannot be loaded.
        manifest: Manifest of the current model.
    """

    def __init__(self, first: Predictor | Manifest) -> None:
        """Start with a predictor, or with the manifest of one that `warm_up` loads."""
        self.state = ModelState.WARMING
        self._open: dict[str, Predictor] = {}
        self._ready = threading.Event()
        self._failure: SerError | None = None
        self._on_result: OnResult | None = None
        if isinstance(first, Manifest):
            self.manifest = first
        else:
            self._settle_on(first)

    @classmethod
    def open(cls, choice: str, *, trust: bool = False) -> Self:
        """Open the models of an app.

        `auto` loads the compact model in the background, so that the page appears at once, and
        the accurate one after it; every other choice is loaded before this returns.

        Args:
            choice: As in `resolve`.
            trust: As in `resolve`.

        Raises:
            ModelError: The model cannot be loaded; under `auto`, the compact one's folder does
                not match its manifest.
        """
        if choice != AUTO:
            return cls(open_predictor(choice, trust=trust))
        compact = resolve(COMPACT)
        switch = cls(compact.model.manifest)
        better = partial(open_predictor, ACCURATE) if is_bundled(ACCURATE) else None
        switch.warm_up(compact.open, better)
        return switch

    def warm_up(self, open_first: OpenPredictor, open_better: OpenPredictor | None = None) -> None:
        """Load the first model in a thread; requests before it is loaded block until then.

        Args:
            open_first: Loads it.
            open_better: Loads a better one after it, as in `upgrade`.
        """

        def open_both() -> None:
            try:
                self._settle_on(open_first())
            except Exception as error:
                message = f"The {self.manifest.name} model cannot be opened: {error}"
                logger.exception(message)
                self._failure, self.state = ModelError(message), ModelState.FAILED
                self._ready.set()
                return
            if open_better is not None:
                self.upgrade(open_better)

        threading.Thread(target=open_both, daemon=True).start()

    def upgrade(self, open_better: OpenPredictor) -> None:
        """Load another model in a thread, and make it the current one when it is warm."""

        def open_it() -> None:
            try:
                self._settle_on(open_better())
            except Exception as error:
                message = "Still using the %s model. %s"
                is_bug = not isinstance(error, SerError)
                logger.warning(message, self.manifest.name, error, exc_info=is_bug)
                is_offline = isinstance(error, OfflineError)
                self.state = ModelState.OFFLINE if is_offline else ModelState.FAILED

        self.state = ModelState.FETCHING
        threading.Thread(target=open_it, daemon=True).start()

    def _settle_on(self, predictor: Predictor) -> None:
        predictor.on_result = self._on_result
        self._open[predictor.manifest.name] = predictor
        self._predictor, self.manifest = predictor, predictor.manifest
        self.state = ModelState.SETTLED
        self._ready.set()

    def get(self, name: str = AUTO) -> Predictor:
        """Return a loaded model.

        Args:
            name: `auto` for the current one, or a model's own name.

        Raises:
            ModelError: No model of that name is loaded.
        """
        self._ready.wait()
        if self._failure is not None:
            raise self._failure
        if name == AUTO:
            return self._predictor
        if not name:
            raise ModelError(f"No model is named; expected {AUTO}, {ACCURATE} or {COMPACT}.")
        if name not in self._open:
            raise ModelError(
                f"The {name} model is not available here, only {' and '.join(self._open)}. "
                "Choose another, or try again in a minute."
            )
        return self._open[name]

    def on_result(self, callback: OnResult) -> None:
        """Call a function with the outcome of each recording, see `Predictor.on_result`."""
        self._on_result = callback
        for predictor in list(self._open.values()):
            predictor.on_result = callback

    @property
    def is_warm(self) -> bool:
        """Whether a model is loaded, so that no request blocks."""
        return self._ready.is_set() and self._failure is None

    @property
    def manifests(self) -> tuple[Manifest, ...]:
        """Manifests of the loaded models, the first one first."""
        opened = tuple(predictor.manifest for predictor in self._open.values())
        return opened or (self.manifest,)

    @property
    def config(self) -> PipelineConfig:
        """Settings of the current model."""
        return with_limits(self.manifest.pipeline)

    def predict(self, source: AudioSource) -> Prediction:
        """See `Predictor.predict`."""
        return self.get().predict(source)

    def analyse(self, source: AudioSource, *, model: str = AUTO, denoise: bool = False) -> Analysis:
        """See `Predictor.analyse`; `model` is as in `get`."""
        return self.get(model).analyse(source, denoise=denoise)

    def explain(
        self, source: AudioSource, *, model: str = AUTO, denoise: bool = False
    ) -> tuple[Analysis, tuple[Moment, ...]]:
        """Return an analysis and, by the same model, `ser_core.explain.explain` of it."""
        predictor = self.get(model)
        analysis = predictor.analyse(source, denoise=denoise)
        return analysis, explain(analysis, predictor.model)

    def compare(self, source: AudioSource, *, denoise: bool = False) -> tuple[Analysis, ...]:
        """Return the analysis of each loaded model, the current one first."""
        return tuple(p.analyse(source, denoise=denoise) for p in self.get_each())

    def get_each(self) -> tuple[Predictor, ...]:
        """Return every loaded model, the current one first."""
        first = self.get()
        return (first, *(predictor for predictor in self._open.values() if predictor is not first))
