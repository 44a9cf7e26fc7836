# make train                  train on the embedded digits, about a minute
# make train DATASET=mnist    the same on MNIST (downloads it)
# make test, make lint        the checks; make test-fast: the tests that take under a minute in all

PYTHON ?= python3
DATASET ?= digits
EPOCHS ?= $(if $(filter digits,$(DATASET)),60,10)

.PHONY: train test test-fast lint
train: .venv/installed
	.venv/bin/jaxdae train --dataset $(DATASET) --epochs $(EPOCHS) --out runs/make-$(DATASET) --overwrite

test: .venv/installed
	.venv/bin/python -m pytest

test-fast: .venv/installed
	.venv/bin/python -m pytest -m "not slow"

lint: .venv/installed
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

.venv/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| (echo "jaxdae needs Python 3.11 or newer: make PYTHON=python3.12" && exit 1)
	$(PYTHON) -m venv --clear .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test]'
	touch $@
