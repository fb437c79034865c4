"""Predictions over a stream of chunks: a rolling window of the newest audio, smoothed.

The page, the API's stream and the command line use the same sessions.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
import numpy.typing as npt

from ser_core.errors import NoSpeechError
from ser_core.labels import column_of
from ser_core.prediction import Prediction, mean_intensity
from ser_core.predictor import PredictorLike
from ser_core.preprocess import dbfs
from ser_core.reference import Reference
from ser_core.segments import Segment

Chunk = npt.NDArray[Any]
LATE_S = 5.0
"""Delay, in audio, after which what has not arrived is lost."""
LEAST_PROBABILITY = 0.007
"""Probabilities count as at least this, so that no single answer decides."""


@dataclass(frozen=True, slots=True)
class LiveConfig:
    """Settings of a stream.

    Attributes:
        window_s: Newest audio that a prediction is computed from.
        every_s: Audio between two predictions.
        first_s: Audio before the first prediction.
        smoothing: Weight of the previous prediction in the next one.
        margin: Lead over the settled emotion that counts for nothing, in nats.
        threshold: Sum of leads beyond the margin with which an emotion settles, in nats.
        penalty: What each change adds to the threshold of the next one, in nats.
        half_life_s: Audio in which half of that is gone.
        pause_s: Silence that resets window and smoothing, and ends an utterance.
        utterance_s: Longest utterance; a longer one goes on as another.
        quiet_dbfs: Peak below which audio counts as silence.
        limit_s: Longest session, in audio and by the clock.
        absent_s: Time without a chunk after which a session counts as inactive.
        adapt: Whether answers adapt to the voice, by the utterances so far.
    """

    window_s: float = 2.5
    every_s: float = 0.5
    first_s: float = 1.0
    smoothing: float = 0.5
    margin: float = 1.0
    threshold: float = 1.5
    penalty: float = 4.0
    half_life_s: float = 17.0
    pause_s: float = 0.75
    utterance_s: float = 30.0
    quiet_dbfs: float = -40.0
    limit_s: float = 300.0
    absent_s: float = 5.0
    adapt: bool = True


@dataclass(frozen=True, slots=True)
class LiveAnswer:
    """One prediction of a session.

    Attributes:
        at_s: Audio received until then.
        prediction: Smoothed over the previous ones; None during silence.
        lag_s: Time since the first chunk minus the audio received; lost audio counts, too.
        settled: Settled emotion, see `LiveSession`.
        utterance: The utterance that has ended since the previous answer.
    """

    at_s: float
    prediction: Prediction | None
    lag_s: float = 0.0
    settled: str | None = None
    utterance: Segment | None = None

    def events(self) -> Iterator[dict[str, Any]]:
        """Yield plain JSON types: an `answer`, and an `utterance` where one has ended."""
        yield {
            "event": "answer",
            "at_s": self.at_s,
            "lag_s": self.lag_s,
            "settled": self.settled,
            "prediction": self.prediction and self.prediction.to_dict(),
        }
        if self.utterance:
            yield {"event": "utterance"} | self.utterance.to_dict()


@dataclass(slots=True, weakref_slot=True, eq=False)
class LiveSession:
    """State of one stream: its predictions and the newest window of audio.

    The likeliest emotion of a window of speech changes many times in a calm minute. An emotion
    settles only when its lead over the settled one adds up: a CUSUM test (Page, 1954) on the log
    probabilities before calibration, so that one margin suits cautious models and bold ones. Where
    none has settled, the lead is that over the next likeliest. Each change makes the next one
    harder for some time, so that a voice between two emotions does not alternate, while one that
    seldom changes is soon followed.

    An utterance lasts from one pause to the next. Its probabilities are the mean over its windows,
    as those of a long recording are, so that no more sound than a window is kept. The answers adapt
    to the voice: each utterance is a clip of their `Reference`.

    Attributes:
        config: Settings.
        answers: All predictions, the oldest first.
        received_s: Audio received.
        settled: Settled emotion; None at the start and after a silence as long as the window.
    """

    config: LiveConfig = field(default_factory=LiveConfig)
    answers: list[LiveAnswer] = field(default_factory=list)
    received_s: float = 0.0
    settled: str | None = None
    _rate_hz: int = 0
    _window: Chunk | None = None
    _smoothed: Prediction | None = None
    _leads: npt.NDArray[np.float64] | None = None
    _penalty: float = 0.0
    _changed_s: float = 0.0
    _utterance: list[tuple[float, float, Prediction]] = field(default_factory=list)
    _not_adapted: list[npt.NDArray[np.float64]] = field(default_factory=list)
    _reference: Reference = field(default_factory=Reference)
    _weights: str = ""
    _utterance_end_s: float = 0.0
    _last_speech_s: float = 0.0
    _started: float = 0.0
    _last_chunk: float | None = None

    @property
    def is_over(self) -> bool:
        """Whether the longest session has been reached."""
        lasted_s = self._last_chunk - self._started if self._last_chunk else 0.0
        return max(self.received_s, lasted_s) >= self.config.limit_s

    @property
    def silent_s(self) -> float:
        """Audio since the last speech."""
        return self.received_s - self._last_speech_s

    @property
    def lost_s(self) -> float:
        """Audio that did not arrive: by how much the least lag has grown; late audio is none."""
        lags_s = [answer.lag_s for answer in self.answers]
        last_s = self.received_s - LATE_S
        newest = [answer.lag_s for answer in self.answers if answer.at_s > last_s]
        return round(min(newest) - min(lags_s), 3) if newest else 0.0

    @property
    def is_active(self) -> bool:
        """Whether chunks are arriving."""
        last = self._last_chunk
        return last is not None and time.monotonic() - last < self.config.absent_s

    def process(self, rate_hz: int, chunk: Chunk, predictor: PredictorLike) -> LiveAnswer | None:
        """Process the next chunk of the stream, of any length.

        A chunk longer than the window, as after the server was busy, gives a single prediction,
        for its end: a prediction is never older than its chunk.

        Args:
            rate_hz: Rate of the chunk; a change starts a new window.
            chunk: (n_samples,) or (n_samples, n_channels), integers or floats.
            predictor: Predictor of the window.

        Returns:
            The new prediction, None where none is due.

        Raises:
            AudioError: The chunk cannot be read as audio.
        """
        if self.is_over or chunk.size == 0:
            return None
        self._append(rate_hz, chunk)
        last_s = self.answers[-1].at_s if self.answers else 0.0
        if self.received_s - last_s < self.config.every_s - 1e-6:
            return None
        prediction = self._predict(predictor)
        if prediction:
            self._last_speech_s = self.received_s
        elif self.received_s - self._last_speech_s >= self.config.window_s:
            self.settled = None
        has_ended = not prediction or self._utterance_s >= self.config.utterance_s
        utterance = self._end_utterance() if has_ended else None
        lag_s = time.monotonic() - self._started - self.received_s
        at_s = round(self.received_s, 3)
        answer = LiveAnswer(at_s, prediction, round(lag_s, 3), self.settled, utterance)
        self.answers.append(answer)
        return answer

    def end(self, reason: str) -> Iterator[dict[str, Any]]:
        """Yield the last events of a stream in plain JSON types.

        Args:
            reason: Why it ends.
        """
        if utterance := self._end_utterance():
            yield {"event": "utterance"} | utterance.to_dict()
        at_s = round(self.received_s, 3)
        yield {"event": "end", "reason": reason, "at_s": at_s, "shares": self.shares()}

    def discard_audio(self) -> None:
        """Discard the window of audio; the predictions stay."""
        self._window = None

    def shares(self) -> dict[str, float]:
        """Return the mean probability of each emotion during speech, the largest first."""
        speech = [answer.prediction for answer in self.answers if answer.prediction]
        if not speech:
            return {}
        mean = np.mean([prediction.probabilities for prediction in speech], axis=0)
        return dict(speech[0].with_probabilities(mean).ranked())

    def rows(self) -> list[dict[str, Any]]:
        """Return one row for each prediction: time, emotion and all probabilities."""
        return [
            {
                "at_s": answer.at_s,
                "lag_s": answer.lag_s,
                "settled": answer.settled,
                "emotion": p.emotion,
                "confidence": p.confidence,
                "intensity": p.intensity,
            }
            | dict(zip(map(column_of, p.labels), p.probabilities, strict=True))
            for answer in self.answers
            if (p := answer.prediction)
        ]

    def _end_utterance(self) -> Segment | None:
        windows, self._utterance = self._utterance, []
        not_adapted, self._not_adapted = self._not_adapted, []
        if not windows:
            return None
        self._reference += Reference.of([np.mean(not_adapted, axis=0)])
        start_s = windows[0][0]
        end_s = self._utterance_end_s = max(end_s for _, end_s, _ in windows)
        newest = windows[-1][-1]
        mean = np.mean([prediction.probabilities for _, _, prediction in windows], axis=0)
        intensity = mean_intensity([prediction.intensity for _, _, prediction in windows])
        prediction = newest.of_part(mean, length_s=end_s - start_s, intensity=intensity)
        return Segment(round(start_s, 3), round(end_s, 3), prediction=prediction)

    @property
    def _utterance_s(self) -> float:
        return self._utterance[-1][1] - self._utterance[0][0] if self._utterance else 0.0

    def _append(self, rate_hz: int, chunk: Chunk) -> None:
        known, joined = self._window, chunk
        form = (rate_hz, chunk.dtype, chunk.shape[1:])
        if known is not None and form == (self._rate_hz, known.dtype, known.shape[1:]):
            joined = np.concatenate([known, chunk])
        self._rate_hz = rate_hz
        self._window = joined[-round(self.config.window_s * rate_hz) :].copy()
        self._last_chunk = time.monotonic()
        if not self.received_s:
            self._started = self._last_chunk - len(chunk) / rate_hz
        self.received_s += len(chunk) / rate_hz

    def _predict(self, predictor: PredictorLike) -> Prediction | None:
        window = self._window
        if window is None or len(window) < self.config.first_s * self._rate_hz:
            return None
        newest = window[-round(self.config.pause_s * self._rate_hz) :]
        full_scale = 1.0 if newest.dtype.kind == "f" else float(np.iinfo(newest.dtype).max)
        peak = float(np.abs(newest.astype(np.float64)).max()) / full_scale
        if dbfs(peak) < self.config.quiet_dbfs:
            # Speech from before the pause must not count again after it.
            self._window, self._smoothed, self._leads = None, None, None
            return None
        try:
            prediction = predictor.predict((self._rate_hz, window))
        except NoSpeechError:
            return None
        prediction = self._adapt(prediction)
        start_s = max(0.0, self.received_s - prediction.duration_s)
        first_s = max(start_s + prediction.speech_start_s, self._utterance_end_s)
        last_s = start_s + prediction.speech_end_s
        if first_s < last_s:
            self._utterance.append((first_s, last_s, prediction))
        self._settle(prediction.labels, prediction.uncalibrated)
        self._smoothed = self._smooth(prediction)
        return self._smoothed

    def _smooth(self, prediction: Prediction) -> Prediction:
        last, keep = self._smoothed, self.config.smoothing
        if last is None or len(last.labels) != len(prediction.labels):
            return prediction
        pairs = zip(last.probabilities, prediction.probabilities, strict=True)
        mean = [keep * old + (1.0 - keep) * new for old, new in pairs]
        intensity = prediction.intensity
        if intensity is not None and last.intensity is not None:
            intensity = keep * last.intensity + (1.0 - keep) * intensity
        return replace(prediction.with_probabilities(mean), intensity=intensity)

    def _adapt(self, prediction: Prediction) -> Prediction:
        """Adapt a prediction to the utterances before, and keep it for those after."""
        if prediction.weights != self._weights:  # the model was switched
            self._weights, self._reference, self._not_adapted = prediction.weights, Reference(), []
        self._not_adapted.append(prediction.uncalibrated)
        return self._reference.adapt_prediction(prediction) if self.config.adapt else prediction

    def _settle(self, labels: tuple[str, ...], probabilities: npt.NDArray[np.float64]) -> None:
        passed_s = self.received_s - self._changed_s
        penalty = self._penalty * 0.5 ** (passed_s / self.config.half_life_s)
        leads = np.log(np.maximum(probabilities, LEAST_PROBABILITY))
        threshold = self.config.threshold
        is_change = self.settled in labels
        if is_change:
            leads -= leads[labels.index(self.settled)] + self.config.margin
            threshold += penalty
        else:
            leads -= np.sort(leads)[-2]
        if self._leads is not None and len(self._leads) == len(labels):
            leads += self._leads
        self._leads = leads.clip(min=0.0)
        k = int(self._leads.argmax())
        if self._leads[k] >= threshold:
            self.settled, self._leads = labels[k], None
            if is_change:
                self._penalty = penalty + self.config.penalty
                self._changed_s = self.received_s


class LiveSessions:
    """The streams of an app: a limit on their number, and no sound of those that have stopped."""

    def __init__(self, n_places: int) -> None:
        """Take the most streams at a time."""
        self.n_places = n_places
        self._sessions: WeakValueDictionary[str, LiveSession] = WeakValueDictionary()
        self._connected: set[str] = set()

    def admit(self, key: str, session: LiveSession, *, is_connected: bool = False) -> bool:
        """Return whether there is a place for a session, which then takes it.

        Args:
            key: Name of the session.
            session: The session; it has its place as long as it is active.
            is_connected: Whether it has its place until it leaves.
        """
        others = {name: one for name, one in [*self._sessions.items()] if one is not session}
        for one in others.values():
            if not one.is_active:
                one.discard_audio()
        taken = {name for name, one in others.items() if one.is_active} | self._connected
        if len(taken - {key}) >= self.n_places and not session.is_active:
            return False
        self._sessions[key] = session
        if is_connected:
            self._connected.add(key)
        return True

    def leave(self, key: str) -> None:
        """Free the place of a session, and discard its sound."""
        self._connected.discard(key)
        if left := self._sessions.pop(key, None):
            left.discard_audio()
