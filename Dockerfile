# The page on port 7860, on a CPU; needs no network with MOODMIRROR_MODEL=compact.
# Build and run: docker compose up

FROM python:3.11-slim-bookworm AS environment
COPY requirements.txt /tmp/requirements.txt
RUN python -m venv /opt/venv \
    && /opt/venv/bin/pip install --no-cache-dir -r /tmp/requirements.txt

# docker build --target score: compact for archives, in ONNX Runtime and without TensorFlow.
FROM environment AS export
WORKDIR /srv
COPY model model
COPY ser_core ser_core
RUN /opt/venv/bin/pip install --no-cache-dir "onnxruntime>=1.20" "onnx>=1.17" "tf2onnx>=1.17" \
    && /opt/venv/bin/python -m ser_core export compact /srv/compact

FROM python:3.11-slim-bookworm AS score
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin moodmirror \
    && pip install --no-cache-dir "onnxruntime>=1.20" "numpy>=1.26" "scipy>=1.13" \
        "soundfile>=0.13" "av>=15" "soxr>=0.5" "threadpoolctl>=3.5" "typer>=0.15" "rich>=14.1" \
        "pyarrow>=17" "fsspec>=2024.6"
WORKDIR /srv
COPY --from=export /srv/compact compact
COPY ser_core ser_core
RUN python -m compileall -q ser_core
USER 10001
ENTRYPOINT ["python", "-m", "ser_core", "score", "--model", "compact"]

FROM python:3.11-slim-bookworm
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin moodmirror \
    && install --directory --owner=10001 --group=10001 /cache
COPY --from=environment /opt/venv /opt/venv
WORKDIR /srv
COPY app.py LICENSE README.md ./
COPY model model
COPY examples examples
COPY ser_core ser_core
RUN /opt/venv/bin/python -m compileall -q ser_core

# /tmp is all that must be writable. /cache keeps Whisper's weights, which MOODMIRROR_MODEL=auto
# fetches once; where it cannot be written to, the compact model goes on answering.
ENV PATH=/opt/venv/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    GRADIO_SERVER_NAME=0.0.0.0 \
    GRADIO_SERVER_PORT=7860 \
    GRADIO_TEMP_DIR=/tmp \
    HOME=/tmp \
    NUMBA_CACHE_DIR=/tmp/numba \
    MPLCONFIGDIR=/tmp/matplotlib \
    HF_HOME=/cache/huggingface \
    MOODMIRROR_CACHE=/cache/moodmirror \
    MOODMIRROR_METRICS=1
USER 10001
VOLUME /cache
EXPOSE 7860
HEALTHCHECK --interval=15s --timeout=5s --start-period=120s --retries=3 \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:7860/healthz', timeout=4)"]
CMD ["python", "app.py"]
