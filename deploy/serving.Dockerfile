# The API alone: no torch, no data frames.
FROM python:3.12-slim AS build
WORKDIR /source
COPY pyproject.toml README.md ./
COPY shared shared
COPY serving serving
COPY offline/__init__.py offline/__init__.py
COPY recipes recipes
RUN python -m venv /venv && /venv/bin/pip install --no-cache-dir '.[serving]'

FROM python:3.12-slim
RUN useradd --create-home --uid 10001 retort && install -d -o retort -g retort /var/lib/retort
COPY --from=build /venv /venv
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 RETORT_HOME=/var/lib/retort LOG_JSON=true
USER retort
WORKDIR /home/retort
EXPOSE 8000
HEALTHCHECK --interval=5s --timeout=3s --start-period=20s \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health/live', timeout=2)"]
CMD ["retort-serve"]
