# Image of the API: no torch, no data frames, no compiler. The layers that change least come first.
FROM python:3.11-slim AS build
WORKDIR /source
RUN python -m venv --without-pip /venv && python -m pip install --no-cache-dir setuptools==80.9.0 wheel==0.45.1
COPY deploy/serving.lock.txt ./
RUN python -m pip --python /venv/bin/python install --no-cache-dir -r serving.lock.txt \
  # headers, static libraries and tests of onnxruntime and pyarrow
  && find /venv -depth \( -type d \( -name tests -o -name include \) -o -name '*.pyi' -o -name '*.a' \) -exec rm -rf {} +
COPY pyproject.toml README.md LICENSE ./
COPY retort retort
COPY shared shared
COPY serving serving
COPY offline/__init__.py offline/__init__.py
COPY recipes recipes
RUN python -m pip wheel --no-deps --no-build-isolation --wheel-dir /wheels . \
  && python -m pip --python /venv/bin/python install --no-cache-dir --no-deps --target /code /wheels/*.whl

FROM python:3.11-slim
RUN useradd --create-home --uid 10001 retort \
  && install -d -o retort -g retort /var/lib/retort /var/lib/retort/bundles /var/lib/retort/serving
COPY --from=build /venv /venv
# A layer of its own, so that a change of code copies a megabyte.
COPY --from=build /code /code
ENV PATH=/code/bin:/venv/bin:$PATH PYTHONPATH=/code PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 RETORT_HOME=/var/lib/retort LOG_JSON=true
# last, because it changes with every commit
ARG VERSION=dev
ARG REVISION=unknown
LABEL org.opencontainers.image.title="retort-serving" \
  org.opencontainers.image.description="Answers /recommend from a sealed bundle" \
  org.opencontainers.image.licenses="Apache-2.0" \
  org.opencontainers.image.version="$VERSION" \
  org.opencontainers.image.revision="$REVISION"
USER 10001:10001
WORKDIR /home/retort
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=5s --start-period=120s --retries=6 \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health/live', timeout=2)"]
CMD ["retort-serve"]
