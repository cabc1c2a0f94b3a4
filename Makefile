SHELL := /bin/bash
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= python3
UV_VERSION := 0.13.8
UV := VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/uv
MEMBERS := $(sort $(wildcard libs/*/pyproject.toml services/*/pyproject.toml))
EDITABLE := $(foreach member,$(MEMBERS),-e $(dir $(member)))
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

lint: $(INSTALLED) ## Check style, types and layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: $(INSTALLED) ## Run every test on real servers
	$(BIN)/pytest

.PHONY: help install install-gpu lint test
