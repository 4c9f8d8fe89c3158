# `make demo` and `make test` need only Python 3.11 and PyPI.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test test-sdks fuzz lint types format serve train clean

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $(READY)

demo: $(READY)  ## the whole story on the shipped models: profile, route, frontier, feedback, a sixth model
	$(BIN)/router demo

test: $(READY)
	$(BIN)/pytest

SDKS := tests/sdks

test-sdks: $(READY) $(SDKS)/.venv/.ready $(SDKS)/node/node_modules/.ready  ## every SDK before a real gateway; needs Node 20
	$(BIN)/python -m tests.sdks.matrix

$(SDKS)/.venv/.ready: $(SDKS)/requirements.txt
	$(PYTHON) -m venv $(SDKS)/.venv
	$(SDKS)/.venv/bin/pip install --quiet --requirement $<
	touch $@

$(SDKS)/node/node_modules/.ready: $(SDKS)/node/package.json
	cd $(SDKS)/node && npm install --no-audit --no-fund --no-package-lock --silent
	touch $@

FUZZ := tests/fuzz

fuzz: $(READY) $(FUZZ)/.venv/.ready  ## the OpenAPI document by schemathesis, then 10,000 malformed requests
	$(BIN)/python -m tests.fuzz.document
	$(BIN)/python -m tests.fuzz.running

$(FUZZ)/.venv/.ready: $(FUZZ)/requirements.txt
	$(PYTHON) -m venv $(FUZZ)/.venv
	$(FUZZ)/.venv/bin/pip install --quiet --requirement $<
	touch $@

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

serve: $(READY)
	$(BIN)/router serve

clean:
	rm -rf $(VENV) $(SDKS)/.venv $(SDKS)/node/node_modules $(FUZZ)/.venv *.egg-info .mypy_cache .ruff_cache .pytest_cache
