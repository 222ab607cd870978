# Image of a worker with vLLM in its process: profiles (queue gpu-llm) and trainings on the GPU. It requires the NVIDIA
# container toolkit. vLLM installs the build of torch that it was compiled for, so the lock of the CPU images is not used.
ARG BASE=nvidia/cuda:12.9.1-runtime-ubuntu24.04
FROM $BASE AS base
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# gcc: vLLM compiles kernels at first use. Unpinned, to get the base image's security updates.
# hadolint ignore=DL3008
RUN apt-get update \
  && apt-get install -y --no-install-recommends python3 python3-venv python3-dev gcc libgomp1 \
  && rm -rf /var/lib/apt/lists/* \
  && useradd --create-home --uid 10001 retort \
  && install -d -o retort -g retort /var/lib/retort /var/lib/retort/bundles /data /runs /models

FROM base AS build
WORKDIR /source
RUN python3 -m venv /venv
ARG VLLM=0.12.0
RUN /venv/bin/pip install --no-cache-dir "vllm==$VLLM"
# The layer above determines the versions of shared dependencies; this one adds only what is missing.
COPY pyproject.toml README.md LICENSE ./
COPY retort retort
COPY shared shared
COPY serving/__init__.py serving/__init__.py
COPY offline offline
COPY recipes recipes
RUN /venv/bin/pip install --no-cache-dir '.[offline]'

FROM base
COPY --from=build /venv /venv
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 RETORT_HOME=/var/lib/retort HF_HOME=/models
# last, because it changes with every commit
ARG VERSION=dev
ARG REVISION=unknown
LABEL org.opencontainers.image.title="retort-worker-gpu" \
  org.opencontainers.image.description="Writes profiles with vLLM and trains on a GPU" \
  org.opencontainers.image.licenses="Apache-2.0" \
  org.opencontainers.image.version="$VERSION" \
  org.opencontainers.image.revision="$REVISION"
USER 10001:10001
WORKDIR /home/retort
CMD ["retort", "worker"]
