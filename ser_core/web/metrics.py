"""What those who run the app ask it: `/healthz`, and `/metrics` where that was asked for."""

import os
from typing import Any

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ser_core.errors import AudioError, NoSpeechError
from ser_core.prediction import Prediction
from ser_core.switch import ModelSwitch

BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
ROUTES = {
    "/": "page",
    "/healthz": "healthz",
    "/metrics": "metrics",
    "/gradio_api/upload": "upload",
    "/gradio_api/queue/join": "join",
    "/gradio_api/call": "call",
}
"""Names of the requests that are told apart, by their paths."""
REJECTIONS = {413: "too_large", 429: "too_many", 503: "queue_full"}
"""Why a request was turned away, by status."""


class Metrics:
    """The counters of one app, in a registry of their own."""

    def __init__(self, models: ModelSwitch) -> None:
        """Begin at zero; `models` says whether the app is ready."""
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._recordings = Counter(
            "moodmirror_recordings_total",
            "Recordings and live windows by what became of them.",
            ["outcome"],
            registry=self._registry,
        )
        self._stages = Histogram(
            "moodmirror_stage_seconds",
            "Time of each stage from file to answer, and of all as total.",
            ["model", "stage"],
            buckets=BUCKETS_S,
            registry=self._registry,
        )
        self._responses = Counter(
            "moodmirror_responses_total",
            "Responses by route and status.",
            ["route", "status"],
            registry=self._registry,
        )
        self._rejections = Counter(
            "moodmirror_rejections_total",
            "Requests that were turned away.",
            ["reason"],
            registry=self._registry,
        )
        self._waiting = Gauge(
            "moodmirror_queue_waiting", "Requests that wait.", registry=self._registry
        )
        self._running = Gauge(
            "moodmirror_queue_running", "Requests that are answered.", registry=self._registry
        )
        ready = Gauge("moodmirror_ready", "1 once a model is warm.", registry=self._registry)
        ready.set_function(lambda: float(models.is_warm))
        for reason in REJECTIONS.values():
            self._rejections.labels(reason)

    def count_recording(self, outcome: Prediction | Exception) -> None:
        """Count one recording, and the time of its stages where it was answered."""
        self._recordings.labels(_outcome_name(outcome)).inc()
        if isinstance(outcome, Prediction):
            for stage, ms in outcome.timings_ms.items():
                self._stages.labels(outcome.model, stage).observe(ms / 1_000)

    def count_response(self, path: str, status: int) -> None:
        """Count one response of the server."""
        self._responses.labels(_route_name(path), str(status)).inc()
        if status in REJECTIONS and path != "/healthz":
            self._rejections.labels(REJECTIONS[status]).inc()

    def respond(self, request: Request) -> Response:
        """What Prometheus reads."""
        queue = request.app.get_blocks()._queue
        self._waiting.set(len(queue))
        self._running.set(sum(job is not None for job in queue.active_jobs))
        return Response(generate_latest(self._registry), media_type=CONTENT_TYPE_LATEST)


class CountResponses:
    """Counts what leaves an application, as ASGI middleware."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        """Stand before an application."""
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, and count its response when that begins."""

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._metrics.count_response(scope["path"], message["status"])
            await send(message)

        await self._app(scope, receive, counted if scope["type"] == "http" else send)


def _outcome_name(outcome: Prediction | Exception) -> str:
    match outcome:
        case Prediction():
            return "answered" if outcome.certain else "uncertain"
        case NoSpeechError():
            return "no_speech"
        case AudioError():
            return "refused"
        case _:
            return "failed"


def _route_name(path: str) -> str:
    """One of a few names, so that nobody can make the figures grow by what he asks for."""
    if path in ROUTES:
        return ROUTES[path]
    return "call" if path.startswith("/gradio_api/call/") else "other"


METRICS_VARIABLE = "MOODMIRROR_METRICS"
"""Environment variable that opens `/metrics` where it is 1."""
RETRY_AFTER_S = 2


def watch_app(models: ModelSwitch) -> dict[str, Any]:
    """Routes and middleware for the application that Gradio makes.

    Args:
        models: Who answers.

    Returns:
        Arguments for `Blocks.launch(app_kwargs=…)`.
    """

    def healthz(_request: Request) -> Response:
        """200 once a model is warm, and 503 before that or where none can be opened."""
        if models.is_warm:
            manifest = models.manifest
            return JSONResponse({"ready": True, "model": f"{manifest.name} {manifest.version}"})
        state = models.state.name.lower()
        headers = {"Retry-After": str(RETRY_AFTER_S)}
        return JSONResponse({"ready": False, "state": state}, status_code=503, headers=headers)

    routes, middleware = [Route("/healthz", healthz)], []
    if os.environ.get(METRICS_VARIABLE) == "1":
        metrics = Metrics(models)
        models.watch(metrics.count_recording)
        routes.append(Route("/metrics", metrics.respond))
        middleware.append(Middleware(CountResponses, metrics=metrics))
    return {"routes": routes, "middleware": middleware}
