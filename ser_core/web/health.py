"""What those who run the app ask it: `/healthz`, and `/metrics` where that was asked for."""

import os
from typing import Any

from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ser_core.switch import ModelSwitch

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
        from ser_core.web.metrics import CountResponses, Metrics

        metrics = Metrics(models)
        models.watch(metrics.count_recording)
        routes.append(Route("/metrics", metrics.respond))
        middleware.append(Middleware(CountResponses, metrics=metrics))
    return {"routes": routes, "middleware": middleware}
