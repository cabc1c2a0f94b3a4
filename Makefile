SHELL := /bin/bash
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= python3
UV_VERSION := 0.13.8
UV := VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/uv
MEMBERS := $(sort $(wildcard libs/*/pyproject.toml services/*/pyproject.toml))
EDITABLE := $(foreach member,$(MEMBERS),-e $(dir $(member)))
EXPORT := $(UV) export -q --no-emit-workspace --no-header --no-annotate --format requirements-txt
INSTALLED := $(VENV)/.installed

help: ## Show the commands
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(INSTALLED): requirements/dev.txt pyproject.toml $(MEMBERS)
	@$(PYTHON) -c 'import sys; sys.exit("Phonograph needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Set PYTHON=/path/to/python3.11.") if sys.version_info < (3, 11) else None'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/pip --disable-pip-version-check -q install uv==$(UV_VERSION)
	@$(UV) pip install -q --require-hashes -r requirements/dev.txt
	@$(UV) pip install -q --no-deps $(EDITABLE)
	@touch $@

install: $(INSTALLED) ## Install everything into .venv

install-gpu: $(INSTALLED) ## Add torch and pyannote.audio
	@$(UV) pip install --require-hashes -r requirements/gpu.txt

models: $(INSTALLED) ## Fetch the models of the default engines into the user's cache, once
	@$(BIN)/phonograph models fetch > /dev/null \
		|| echo 'Phonograph goes on with engines that need no models; results have the warning engine_fallback.' >&2

demo: models ## Start everything, ingest the sample recordings, show the results, stop
	@$(BIN)/phonograph demo

up: models ## Start servers and services; restart those that died
	@$(BIN)/phonograph up

down: $(INSTALLED) ## Stop servers and services; keep the data
	@$(BIN)/phonograph down

test: models ## Run every test on real servers
	$(BIN)/pytest

chaos: $(INSTALLED) ## Inject every fault; CASE=name runs one
	$(BIN)/pytest tests/chaos -m 'chaos or not chaos' -s $(if $(CASE),-k '$(CASE)')

images-test: $(INSTALLED) ## Build and run the images with a Docker engine of their own (Debian, root)
	$(BIN)/pytest tests/images -m images -s

lint: $(INSTALLED) ## Check style, types and layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(INSTALLED) ## Measure against bare loops of the same libraries; ONLY=name, BASE=revision
	@$(BIN)/python -m tests.bench $(if $(ONLY),--only $(ONLY)) $(if $(BASE),--base $(BASE))

migrate: $(INSTALLED) ## Upgrade the database schema of every service of the running stack
	@$(BIN)/phonograph migrate

schemas: $(INSTALLED) ## Generate schemas/, docs/{events,metrics}.md and the dashboards from the code
	$(BIN)/python -m phonograph_events.schemas schemas docs/events.md
	$(BIN)/python deploy/prometheus/metrics_page.py
	$(BIN)/python deploy/grafana/dashboards.py

samples: $(INSTALLED) ## Generate the sample recordings (needs flite)
	$(BIN)/python tests/samples/make.py

requirements: $(INSTALLED) ## Compile requirements/*.txt with hashes and without index addresses
	@for member in $(notdir $(patsubst %/,%,$(wildcard services/*/))); do \
		$(EXPORT) --package phonograph-$$member --no-dev -o requirements/$$member.txt > /dev/null; done
	@$(EXPORT) --package phonograph-cli --no-dev -o requirements/cli.txt > /dev/null
	@$(EXPORT) --only-group build -o requirements/build.txt > /dev/null
	@$(EXPORT) --all-packages -o requirements/dev.txt > /dev/null
	@$(EXPORT) --package phonograph-diarization --extra gpu --no-dev -o requirements/gpu.txt > /dev/null

.PHONY: help install install-gpu models demo up down test chaos images-test lint bench migrate schemas samples requirements
