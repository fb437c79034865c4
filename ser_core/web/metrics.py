"""Monitoring: `/healthz`, and `/metrics` for Prometheus where it is switched on."""

import os
from functools import partial
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
from ser_core.web.limits import REJECTION

METRICS_VARIABLE = "MOODMIRROR_METRICS"
"""Environment variable that opens `/metrics` where it is 1."""
RETRY_AFTER_S = 2
BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
ROUTES = {
    "/": "page",
    "/healthz": "healthz",
    "/metrics": "metrics",
    "/gradio_api/upload": "upload",
    "/gradio_api/queue/join": "join",
    "/gradio_api/call": "call",
    "/v1/predict": "v1_predict",
    "/v1/batch": "v1_batch",
    "/v1/segments": "v1_segments",
    "/v1/models": "v1_models",
}
"""Names of the requests that are counted apart, by their paths."""
REJECTIONS = (
    "too_large", "too_many", "queue_full", "disk_full", "too_slow", "odd", "key", "rate", "streams"
)  # fmt: skip
"""Reasons of rejected requests."""


def monitor_app(models: ModelSwitch) -> dict[str, Any]:
    """Return routes and middleware for `Blocks.launch(app_kwargs=…)`."""

    def healthz(_request: Request) -> Response:
        """Respond with 200 once a model is warm, else with 503."""
        if models.is_warm:
            manifest = models.manifest
            return JSONResponse({"ready": True, "model": f"{manifest.name} {manifest.version}"})
        state = models.state.name.lower()
        headers = {"Retry-After": str(RETRY_AFTER_S)}
        return JSONResponse({"ready": False, "state": state}, status_code=503, headers=headers)

    routes, middleware = [Route("/healthz", healthz)], []
    if os.environ.get(METRICS_VARIABLE) == "1":
        metrics = Metrics(models)
        models.on_result(metrics.count_recording)
        routes.append(Route("/metrics", metrics.respond))
        middleware.append(Middleware(_count_responses, metrics=metrics))
    return {"routes": routes, "middleware": middleware}


class Metrics:
    """The counters of one app, in a registry of their own."""

    def __init__(self, models: ModelSwitch) -> None:
        """Start at zero; whether `models` are warm is a metric too."""
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        counter = partial(Counter, registry=self._registry)
        gauge = partial(Gauge, registry=self._registry)
        self._recordings = counter(
            "moodmirror_recordings_total", "Recordings and live windows by outcome.", ["outcome"]
        )
        self._stages = Histogram(
            "moodmirror_stage_seconds",
            "Time of each stage from file to answer, and of all as total.",
            ["model", "stage"],
            buckets=BUCKETS_S,
            registry=self._registry,
        )
        self._responses = counter(
            "moodmirror_responses_total", "Responses by route and status.", ["route", "status"]
        )
        self._rejections = counter(
            "moodmirror_rejections_total", "Requests that were turned away.", ["reason"]
        )
        self._waiting = gauge("moodmirror_queue_waiting", "Requests that wait.")
        self._running = gauge("moodmirror_queue_running", "Requests that are answered.")
        ready = gauge("moodmirror_ready", "1 once a model is warm.")
        ready.set_function(lambda: float(models.is_warm))
        for reason in REJECTIONS:
            self._rejections.labels(reason)

    def count_recording(self, outcome: Prediction | Exception) -> None:
        """Count one recording, and the time of its stages where there is a prediction."""
        self._recordings.labels(_outcome_name(outcome)).inc()
        if isinstance(outcome, Prediction):
            for stage, ms in outcome.timings_ms.items():
                self._stages.labels(outcome.model, stage).observe(ms / 1_000)

    def count_response(self, path: str, status: int, rejection: str | None = None) -> None:
        """Count one response of the server, and the reason where it rejects the request."""
        self._responses.labels(_route_name(path), str(status)).inc()
        if rejection in REJECTIONS:
            self._rejections.labels(rejection).inc()

    def respond(self, request: Request) -> Response:
        """Respond with all metrics in Prometheus's format."""
        queue = request.app.get_blocks()._queue
        self._waiting.set(len(queue))
        self._running.set(sum(job is not None for job in queue.active_jobs))
        return Response(generate_latest(self._registry), media_type=CONTENT_TYPE_LATEST)


def _count_responses(app: ASGIApp, metrics: Metrics) -> ASGIApp:
    """Return ASGI middleware that counts a response when it starts."""

    async def counting_app(scope: Scope, receive: Receive, send: Send) -> None:
        async def count_and_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                status = message["status"]  # Gradio refuses a large file itself
                rejection = scope.get(REJECTION, "too_large" if status == 413 else None)
                metrics.count_response(scope["path"], status, rejection)
            await send(message)

        await app(scope, receive, count_and_send if scope["type"] == "http" else send)

    return counting_app


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
    """Return one of a few names, so that invented paths cannot add time series."""
    return ROUTES.get(path, "call" if path.startswith("/gradio_api/call/") else "other")
