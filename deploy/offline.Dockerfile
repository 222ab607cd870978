# Everything that makes a bundle: `retort run`, `retort worker`. CPU torch; give TORCH_INDEX another address for CUDA.
FROM python:3.12-slim AS build
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
WORKDIR /source
RUN python -m venv /venv && /venv/bin/pip install --no-cache-dir torch==2.13.0 --index-url "$TORCH_INDEX"
COPY pyproject.toml README.md ./
COPY shared shared
COPY serving/__init__.py serving/__init__.py
COPY offline offline
COPY recipes recipes
RUN /venv/bin/pip install --no-cache-dir '.[offline]'

FROM python:3.12-slim
# libgomp: torch's and scikit-learn's threads
RUN apt-get update && apt-get install -y --no-install-recommends libgomp1 && rm -rf /var/lib/apt/lists/* \
  && useradd --create-home --uid 10001 retort && install -d -o retort -g retort /var/lib/retort /data /runs
COPY --from=build /venv /venv
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 RETORT_HOME=/var/lib/retort
USER retort
WORKDIR /home/retort
CMD ["retort", "worker"]
