"""The API for programs, below `/v1`: a recording in one request, its emotions as JSON.

Requests are within the limits of the page (`ser_core.web.limits`), count in the same metrics, and
leave no file: a recording is deleted before its answer is sent. Errors are problem details
(RFC 9457).
"""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, Literal, TypeVar

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Depends, FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.security import HTTPBearer
from fastapi_offline import FastAPIOffline
from pydantic import BaseModel
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.websockets import WebSocket

from ser_core import __version__
from ser_core.batch import MAX_FILES, BatchError, batch_to_dict, predict_paths, shown_name
from ser_core.config import max_duration_s
from ser_core.diarization import number_of_speakers, segment_speakers
from ser_core.errors import AudioError, NoSpeechError, SerError
from ser_core.registry import AUTO
from ser_core.segments import Segment, SegmentConfig
from ser_core.switch import ModelSwitch
from ser_core.web.access import Access
from ser_core.web.components import is_full
from ser_core.web.language import translate
from ser_core.web.limits import REJECTION, RefusalError, problem

logger = logging.getLogger(__name__)

MAX_CONCURRENT = 2
MAX_WAITING = 64
MAX_SEGMENTS_S = 3_600.0
"""Longest recording of `/segments`, unless `MOODMIRROR_MAX_DURATION_S` is set."""
BLOCK_BYTES = 1 << 20
_MULTIPART = "multipart/form-data"
_NAME_BYTES = 200

Answer = TypeVar("Answer")


class PredictionSchema(BaseModel):
    """Emotions of one recording: `Prediction.to_dict` of the Python package."""

    emotion: str
    confidence: float
    certain: bool
    intensity: float | None
    probabilities: dict[str, float]
    duration_s: float
    speech_start_s: float
    speech_end_s: float
    warnings: list[dict[str, str]]
    timings_ms: dict[str, float]
    model: str


class SegmentPredictionSchema(PredictionSchema):
    """The same with what its calibration needs: `prediction` of `Segment.to_dict`."""

    weights: str
    certain_from: float
    temperature: float


class SegmentSchema(BaseModel):
    """A stretch of a recording: `Segment.to_dict` of the Python package."""

    start_s: float
    end_s: float
    speaker: str | None
    channel: int | None
    text: str | None
    prediction: SegmentPredictionSchema | None
    warnings: list[dict[str, str]]


class SegmentsSchema(BaseModel):
    """The segments of a recording in the order of their starts."""

    segments: list[SegmentSchema]


class BatchSchema(BaseModel):
    """A row for each file, with `error` where it cannot be analysed, and scores."""

    files: list[dict[str, Any]]
    scores: dict[str, Any] | None


class ModelSchema(BaseModel):
    """A loaded model."""

    name: str
    version: str
    labels: list[str]
    n_parameters: int
    licence: str
    is_current: bool


class ModelsSchema(BaseModel):
    """All loaded models, and whether another one is being loaded."""

    models: list[ModelSchema]
    state: str


class ProblemSchema(BaseModel):
    """An error, as in RFC 9457."""

    type: str
    title: str
    status: int
    detail: str
    reason: str


_PROBLEM = {"model": ProblemSchema, "content": {"application/problem+json": {}}}
_BINARY = {"type": "string", "format": "binary"}


def _describe_body(form: dict[str, Any], **others: Any) -> dict[str, Any]:
    """Return the description of a body that is a form, or of one of other media types."""
    content = {_MULTIPART: {"schema": {"type": "object"} | form}} | others
    return {"requestBody": {"required": True, "content": content}}


_BODY = _describe_body(
    {"properties": {"file": _BINARY}, "required": ["file"]}, **{"audio/*": {"schema": _BINARY}}
)
_FILES = _describe_body({"properties": {"files": {"type": "array", "items": _BINARY}}})
ModelParameter = Annotated[str, Query(description="auto, accurate or compact.")]
DenoiseParameter = Annotated[bool, Query(description="Whether to reduce background noise first.")]
ModeParameter = Annotated[
    Literal["utterances", "windows"],
    Query(description="Whether to cut at pauses of speech, or every 3 s into windows of 6 s."),
]
SpeakersParameter = Annotated[
    str,
    Query(
        description="none; channels; auto, channels that take turns; find, by their voices; or "
        "their number."
    ),
]
OneVoiceParameter = Annotated[
    bool, Query(description="Whether all are of one speaker, to whose voice the rows are adapted.")
]


def build_api(
    models: ModelSwitch, access: Access, stream: Callable[[WebSocket], Awaitable[None]]
) -> FastAPI:
    """Return the app to be mounted at `ser_core.web.limits.API`; its own page is at `/docs`.

    Args:
        models: Analyse the recordings.
        access: Checks the keys and rates of requests.
        stream: Answers a WebSocket, see `ser_core.web.stream`.
    """
    api: FastAPI = FastAPIOffline(
        redoc_url=None,
        title="MoodMirror",
        version=__version__,
        description="Emotions in speech. A live stream is at the WebSocket `stream`.",
    )
    api.include_router(_routes(models, access))
    api.add_api_websocket_route("/stream", stream)
    for kind in (RefusalError, SerError, HTTPException, RequestValidationError, OSError, Exception):
        api.add_exception_handler(kind, _respond)
    api.add_exception_handler(ClientDisconnect, lambda *_: Response(status_code=400))
    return api


def _routes(models: ModelSwitch, access: Access) -> APIRouter:
    router = APIRouter(
        dependencies=[Depends(HTTPBearer(auto_error=False)), Depends(access.check_request)],
        responses=dict.fromkeys((401, 413, 422, 429), _PROBLEM),
    )
    analyses, batches = Queue(MAX_CONCURRENT), Queue(1)
    longest_s = max_duration_s(MAX_SEGMENTS_S)

    @router.post("/predict", openapi_extra=_BODY)
    async def predict(
        request: Request, model: ModelParameter = AUTO, denoise: DenoiseParameter = False
    ) -> PredictionSchema:
        """Analyse one recording, a multipart file or the raw body."""
        async with one_recording(request) as path:
            analysis = await analyses.run(
                lambda: models.analyse(path, model=model, denoise=denoise)
            )
        return PredictionSchema(**analysis.prediction.to_dict())

    @router.post("/segments", openapi_extra=_BODY)
    async def segments(
        request: Request,
        model: ModelParameter = AUTO,
        denoise: DenoiseParameter = False,
        mode: ModeParameter = "utterances",
        speakers: SpeakersParameter = "none",
    ) -> SegmentsSchema:
        """Analyse each utterance or window of a long recording, a multipart file or the raw body.

        It waits in the queue of batches.
        """
        number_of_speakers(speakers)
        config = SegmentConfig(mode=mode, max_duration_s=longest_s)

        def analyse(path: Path) -> list[Segment]:
            predictor = models.get(model)
            return list(segment_speakers(path, predictor, speakers, config=config, denoise=denoise))

        async with one_recording(request) as path:
            found = await batches.run(lambda: analyse(path))
        return SegmentsSchema.model_validate({"segments": [one.to_dict() for one in found]})

    @router.post("/batch", openapi_extra=_FILES)
    async def batch(request: Request, one_voice: OneVoiceParameter = False) -> BatchSchema:
        """Analyse many recordings, or zips of them, as multipart files."""
        async with recordings(request) as paths:
            rows = await batches.run(lambda: predict_paths(paths, models, one_voice=one_voice))
        return BatchSchema(**batch_to_dict(rows))

    @router.get("/models")
    async def list_models() -> ModelsSchema:
        """List the loaded models."""
        current = models.manifest
        listed = [
            ModelSchema(
                name=manifest.name,
                version=manifest.version,
                labels=list(manifest.labels),
                n_parameters=manifest.n_parameters,
                licence=manifest.licence,
                is_current=manifest is current,
            )
            for manifest in models.manifests
        ]
        return ModelsSchema(models=listed, state=models.state.name.lower())

    return router


class Queue:
    """A few requests at a time; the others wait, first come, first served."""

    def __init__(self, n_running: int) -> None:
        """Take the number of requests at a time."""
        self._limiter = CapacityLimiter(n_running)

    async def run(self, work: Callable[[], Answer]) -> Answer:
        """Return what a function returns, called in a thread.

        Raises:
            RefusalError: Too many requests wait.
        """
        if self._limiter.statistics().tasks_waiting >= MAX_WAITING:
            raise RefusalError(429, "queue_full")
        return await to_thread.run_sync(work, limiter=self._limiter)


@asynccontextmanager
async def one_recording(request: Request) -> AsyncIterator[Path]:
    """Give the recording of a request as a file, which is deleted at the end.

    Raises:
        AudioError: There is none, or more than one.
    """
    async with recordings(request) as paths:
        if len(paths) > 1:
            raise AudioError(
                f"The request has {len(paths)} files; expected one recording. Send several to "
                "/v1/batch."
            )
        yield paths[0]


@asynccontextmanager
async def recordings(request: Request) -> AsyncIterator[list[Path]]:
    """Give the files of a request, which are deleted at the end: its parts, or its raw body.

    Raises:
        AudioError: There is none.
        BatchError: There are too many.
        RefusalError: The body breaks a limit, or is no form.
    """
    with TemporaryDirectory() as folder:
        if request.headers.get("content-type", "").startswith(_MULTIPART):
            paths = await _save_parts(request, Path(folder))
        else:
            paths = [Path(folder, "recording")]
            with paths[0].open("xb") as file:
                async for block in request.stream():
                    file.write(block)
            if not paths[0].stat().st_size:
                paths = []
        if not paths:
            raise AudioError(
                "The request has no recording. Send one as a multipart file or as the body."
            )
        yield paths


async def _save_parts(request: Request, folder: Path) -> list[Path]:
    try:
        form = await request.form(max_files=MAX_FILES, max_fields=0)
    except HTTPException as error:
        if "Too many files" in error.detail:
            raise BatchError(
                f"There are more than {MAX_FILES} files, the maximum at a time. Send fewer."
            ) from None
        text = "The form cannot be read: expected files alone. Options go into the address."
        raise RefusalError(400, "odd", text) from None
    paths = []
    async with _closing(form):
        for number, (_, part) in enumerate(form.multi_items()):
            if isinstance(part, UploadFile):
                place = folder / str(number)
                place.mkdir()
                paths.append(place / _file_name(part.filename))
                with paths[-1].open("xb") as file:
                    while block := await part.read(BLOCK_BYTES):
                        file.write(block)
    return paths


@asynccontextmanager
async def _closing(form: Any) -> AsyncIterator[None]:
    try:
        yield
    finally:
        await form.close()


def _file_name(name: str | None) -> str:
    """Return a name that every file system takes, for messages and for the emotion in it."""
    shown = shown_name(name or "").encode("utf-8", "replace")[:_NAME_BYTES].decode(errors="ignore")
    return shown if shown.strip(". ") else "recording"


async def _respond(request: Request, error: Exception) -> Response:
    """Respond to an error with problem details; a bug's trace goes to the log."""
    refusal = refusal_for(error)
    if isinstance(error, RefusalError):
        request.scope[REJECTION] = refusal.reason
    return problem(refusal)


def refusal_for(error: Exception) -> RefusalError:
    """Return an error as a refusal with its HTTP status, reason and sentence."""
    match error:
        case RefusalError():
            return error
        case NoSpeechError():
            return RefusalError(422, "no_speech", str(error))
        case AudioError():
            return RefusalError(422, "recording", str(error))
        case SerError():
            return RefusalError(422, "option", str(error))
        case RequestValidationError():
            wrong = [f"{one['loc'][-1]}: {one['msg']}" for one in error.errors()]
            return RefusalError(422, "option", f"{'; '.join(wrong)}. /v1/docs lists the options.")
        case HTTPException():
            reason = HTTPStatus(error.status_code).phrase.lower().replace(" ", "_")
            return RefusalError(error.status_code, reason, f"{error.detail}. See /v1/docs.")
        case OSError() if is_full(error):
            return RefusalError(507, "disk_full")
    logger.error("A request of the API failed.", exc_info=error)
    return RefusalError(500, "failed", translate("apology"))
