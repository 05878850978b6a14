# rescored as a Docker Space on a GPU; runs without a GPU too.
#   docker build -t rescored . && docker run -p 7860:7860 --gpus all -v rescored:/data rescored
FROM python:3.11-slim-bookworm

# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends ffmpeg curl \
 && rm -rf /var/lib/apt/lists/*

# Spaces run as user 1000; nothing of ours needs root.
RUN useradd --create-home --uid 1000 user && mkdir -p /data /opt/weights && chown user /data /opt/weights
USER 1000
WORKDIR /home/user/app
ENV PATH=/home/user/.local/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    HF_HOME=/opt/weights/huggingface \
    TORCH_HOME=/opt/weights/torch \
    RESCORED_STORE=/data \
    GRADIO_SERVER_NAME=0.0.0.0 \
    PORT=7860

# Dependencies first: they change least. PyPI's torch brings CUDA on Linux and works without it.
COPY --chown=1000 requirements.txt requirements-nodeps.txt ./
RUN pip install --no-cache-dir --user -r requirements.txt \
 && pip install --no-cache-dir --user --no-deps -r requirements-nodeps.txt

# Weights are baked in, so that a cold start downloads nothing; --build-arg DEMUCS="" leaves them out.
ARG DEMUCS="htdemucs"
RUN for model in $DEMUCS; do \
      python -c "import sys; from demucs.pretrained import get_model; get_model(sys.argv[1])" "$model" || exit 1; \
    done

COPY --chown=1000 . .
# Our own package and its extras for several machines; what the first step installed is not touched.
# hadolint ignore=DL3013
RUN pip install --no-cache-dir --user ".[service,traces]"

EXPOSE 7860
VOLUME /data
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
  CMD ["curl", "--fail", "--silent", "http://localhost:7860/healthz"]
CMD ["python", "app.py"]
