# make train                  train on the embedded digits, about a minute
# make train DATASET=mnist    the same on MNIST (downloads it)
# make test, make lint        the checks; make test-fast: the quick ones, a minute or two
# make faults                 kill, fill, rot and mislead runs, and see what is lost: half an hour or more
# make test-oldest            the tests with the lowest versions that pyproject.toml allows
# make test-newest            the tests with the newest versions there are
# make test-fast PYTHON=python3.13 VENV=.venv-3.13    another Python, beside the usual one

PYTHON ?= python3
VENV ?= .venv
DATASET ?= digits
EPOCHS ?= $(if $(filter digits,$(DATASET)),60,10)
CONSTRAINTS = constraints/python-$(shell $(PYTHON) -c 'import sys; print("3.11" if sys.version_info < (3, 12) else "3.12")').txt
# The tests of a file share what they compile, so that they stay together.
IN_PARALLEL = --numprocesses auto --maxprocesses 4 --dist loadfile
PIP_INSTALL = bin/python -m pip install --quiet --disable-pip-version-check

.PHONY: train test test-fast test-oldest test-newest lint faults
train: $(VENV)/installed
	$(VENV)/bin/jaxdae train --dataset $(DATASET) --epochs $(EPOCHS) --out runs/make-$(DATASET) --overwrite

test: $(VENV)/installed
	$(VENV)/bin/python -m pytest $(IN_PARALLEL)

test-fast: $(VENV)/installed
	$(VENV)/bin/python -m pytest $(IN_PARALLEL) -m "not slow"

faults: $(VENV)/installed
	$(VENV)/bin/python experiments/faults.py

lint: $(VENV)/installed
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

$(VENV)/installed: pyproject.toml constraints/python-3.11.txt constraints/python-3.12.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| (echo "jaxdae needs Python 3.11 or newer: make PYTHON=python3.12" && exit 1)
	$(PYTHON) -m venv --clear $(VENV)
	$(VENV)/$(PIP_INSTALL) --constraint $(CONSTRAINTS) --editable '.[test]'
	touch $@

test-oldest:
	$(PYTHON) -m venv --clear .venv-oldest
	grep -oE '"[[:alnum:]_-]+>=[0-9.]+"' pyproject.toml \
		| tr -d '"' | sed 's/>=/==/' > .venv-oldest/bounds.txt
	.venv-oldest/$(PIP_INSTALL) --constraint .venv-oldest/bounds.txt --editable '.[test]'
	.venv-oldest/bin/python -m pytest $(IN_PARALLEL)

test-newest:
	$(PYTHON) -m venv --clear .venv-newest
	.venv-newest/$(PIP_INSTALL) --upgrade --editable '.[test]'
	.venv-newest/bin/python -m pytest $(IN_PARALLEL)
