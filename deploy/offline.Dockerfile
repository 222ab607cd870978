# Image of the offline side, on the CPU: `retort worker`, `retort run`, migrations, the drain, the first bundle.
FROM python:3.11-slim AS build
WORKDIR /source
RUN python -m venv --without-pip /venv && python -m pip install --no-cache-dir setuptools==80.9.0 wheel==0.45.1
# The largest layer, and the one that changes least. Its dependencies are in the lock file.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN python -m pip --python /venv/bin/python install --no-cache-dir --no-deps --retries 1 \
  --index-url "$TORCH_INDEX" torch==2.13.0
COPY deploy/offline.lock.txt ./
RUN python -m pip --python /venv/bin/python install --no-cache-dir -r offline.lock.txt
COPY pyproject.toml README.md LICENSE ./
COPY retort retort
COPY shared shared
COPY serving/__init__.py serving/__init__.py
COPY offline offline
COPY recipes recipes
RUN python -m pip wheel --no-deps --no-build-isolation --wheel-dir /wheels . \
  && python -m pip --python /venv/bin/python install --no-cache-dir --no-deps --target /code /wheels/*.whl

FROM python:3.11-slim
# libgomp: threads of torch and scikit-learn. Unpinned, to get the base image's security updates.
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends libgomp1 && rm -rf /var/lib/apt/lists/* \
  && useradd --create-home --uid 10001 retort \
  && install -d -o retort -g retort /var/lib/retort /var/lib/retort/bundles /data /runs /beat
COPY --from=build /venv /venv
# A layer of its own, so that a change of code copies a megabyte and not a gigabyte.
COPY --from=build /code /code
ENV PATH=/code/bin:/venv/bin:$PATH PYTHONPATH=/code PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
  RETORT_HOME=/var/lib/retort OMP_WAIT_POLICY=passive
# last, because it changes with every commit
ARG VERSION=dev
ARG REVISION=unknown
LABEL org.opencontainers.image.title="retort-offline" \
  org.opencontainers.image.description="Writes profiles, trains students, seals and publishes bundles" \
  org.opencontainers.image.licenses="Apache-2.0" \
  org.opencontainers.image.version="$VERSION" \
  org.opencontainers.image.revision="$REVISION"
USER 10001:10001
WORKDIR /home/retort
CMD ["retort", "worker"]
