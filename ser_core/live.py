"""Answers over a stream of chunks: a rolling window of the newest sound, smoothed."""

import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ser_core.errors import NoSpeechError
from ser_core.prediction import Prediction
from ser_core.predictor import PredictorLike
from ser_core.preprocess import dbfs

Chunk = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class LiveConfig:
    """How a stream is judged.

    Attributes:
        window_s: The newest sound that an answer is made from.
        every_s: Sound between two answers.
        first_s: Sound before the first answer.
        smoothing: Share of an answer that the one before it gives.
        pause_s: Quiet after which the talk is over and the next begins anew.
        quiet_dbfs: Peak below which a stretch is quiet.
        limit_s: Longest session.
        absent_s: Time without a chunk after which nobody is taken to be there.
    """

    window_s: float = 3.0
    every_s: float = 0.5
    first_s: float = 1.0
    smoothing: float = 0.5
    pause_s: float = 0.75
    quiet_dbfs: float = -40.0
    limit_s: float = 300.0
    absent_s: float = 5.0


@dataclass(frozen=True, slots=True)
class LiveAnswer:
    """One answer of a session.

    Attributes:
        at_s: How much of the stream had been heard.
        prediction: Smoothed over the answers before it; None through silence.
        lag_s: How far the sound that was heard lay behind the clock since the first chunk; what
            was lost on the way counts, too.
    """

    at_s: float
    prediction: Prediction | None
    lag_s: float = 0.0


@dataclass(slots=True, weakref_slot=True, eq=False)
class LiveSession:
    """What one visitor's stream has given so far. It keeps no sound but the newest window.

    Attributes:
        config: How the stream is judged.
        answers: All answers, the oldest first.
    """

    config: LiveConfig = field(default_factory=LiveConfig)
    answers: list[LiveAnswer] = field(default_factory=list)
    _rate_hz: int = 0
    _window: Chunk | None = None
    _heard_s: float = 0.0
    _smoothed: npt.NDArray[np.float64] | None = None
    _begun: float | None = None
    _last_chunk: float | None = None

    @property
    def heard_s(self) -> float:
        """How much of the stream has been heard."""
        return self._heard_s

    @property
    def is_over(self) -> bool:
        """Whether the longest session has been reached."""
        return self._heard_s >= self.config.limit_s

    @property
    def is_talking(self) -> bool:
        """Whether chunks are coming."""
        last = self._last_chunk
        return last is not None and time.monotonic() - last < self.config.absent_s

    def process(self, rate_hz: int, chunk: Chunk, predictor: PredictorLike) -> LiveAnswer | None:
        """Take the next stretch of the stream, of any length.

        A chunk longer than the window, as comes after the server was busy, is answered
        once, for its end: an answer is never older than its chunk.

        Args:
            rate_hz: Rate of the chunk; another than before begins a new window.
            chunk: (n_samples,) or (n_samples, n_channels), integers or floats.
            predictor: Who answers.

        Returns:
            The newest answer, None where none is due.

        Raises:
            AudioError: The chunk is no sound.
        """
        if self.is_over or chunk.size == 0:
            return None
        self._take(rate_hz, chunk)
        last_s = self.answers[-1].at_s if self.answers else 0.0
        if self._heard_s - last_s < self.config.every_s - 1e-6:
            return None
        prediction = self._answer(predictor)
        lag_s = round(self._elapsed_s() - self._heard_s, 3)
        answer = LiveAnswer(round(self._heard_s, 3), prediction, lag_s)
        self.answers.append(answer)
        return answer

    def forget_sound(self) -> None:
        """Let go of the newest window; the answers stay."""
        self._window = None

    def shares(self) -> dict[str, float]:
        """Share of each emotion in the time that somebody spoke, the largest first."""
        spoken = [answer.prediction for answer in self.answers if answer.prediction]
        if not spoken:
            return {}
        mean = np.mean([prediction.probabilities for prediction in spoken], axis=0)
        pairs = zip(spoken[0].labels, map(float, mean), strict=True)
        return dict(sorted(pairs, key=lambda pair: -pair[1]))

    def rows(self) -> list[dict[str, Any]]:
        """One row an answer, for a table: when, what, and all probabilities."""
        return [
            {
                "at_s": answer.at_s,
                "lag_s": answer.lag_s,
                "emotion": p.emotion,
                "confidence": p.confidence,
            }
            | dict(zip(p.labels, p.probabilities, strict=True))
            for answer in self.answers
            if (p := answer.prediction)
        ]

    def _take(self, rate_hz: int, chunk: Chunk) -> None:
        known = self._window
        fits = (
            known is not None
            and rate_hz == self._rate_hz
            and known.dtype == chunk.dtype
            and known.shape[1:] == chunk.shape[1:]
        )
        joined = np.concatenate([known, chunk]) if known is not None and fits else chunk
        self._rate_hz = rate_hz
        self._window = joined[-round(self.config.window_s * rate_hz) :].copy()
        self._last_chunk = time.monotonic()
        if self._begun is None:
            self._begun = self._last_chunk - len(chunk) / rate_hz
        self._heard_s += len(chunk) / rate_hz

    def _elapsed_s(self) -> float:
        """How long the speaker has been speaking, by the clock."""
        return 0.0 if self._begun is None else time.monotonic() - self._begun

    def _answer(self, predictor: PredictorLike) -> Prediction | None:
        window = self._window
        if window is None or len(window) < self.config.first_s * self._rate_hz:
            return None
        if self._is_quiet(window[-round(self.config.pause_s * self._rate_hz) :]):
            # What was said before the pause must not be judged again after it.
            self._window, self._smoothed = None, None
            return None
        try:
            prediction = predictor.predict((self._rate_hz, window))
        except NoSpeechError:
            return None
        return self._smooth(prediction)

    def _is_quiet(self, chunk: Chunk) -> bool:
        scale = 1.0 if chunk.dtype.kind == "f" else float(np.iinfo(chunk.dtype).max)
        return dbfs(float(np.abs(chunk.astype(np.float64)).max()) / scale) < self.config.quiet_dbfs

    def _smooth(self, prediction: Prediction) -> Prediction:
        newest = np.array(prediction.probabilities)
        if self._smoothed is None or len(self._smoothed) != len(newest):
            self._smoothed = newest
        keep = self.config.smoothing
        self._smoothed = keep * self._smoothed + (1.0 - keep) * newest
        return prediction.with_probabilities(self._smoothed)
