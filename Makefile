# Everything happens in a virtual environment of its own; `make` alone lists the targets.
#   PYTHON  the Python to create it with (default: the first found that is new enough)
#   VENV    where it goes
#   PYTEST_ARGS  handed to pytest, e.g. make test PYTEST_ARGS="tests/golden -x"

VENV ?= .venv
PYTEST_ARGS ?=

OLDEST := 3.11
CANDIDATES := python3 python3.14 python3.13 python3.12 python3.11 python
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for python in $(CANDIDATES); do \
	"$$python" -c '$(NEW_ENOUGH)' >/dev/null 2>&1 && { echo "$$python"; break; }; done)

BIN := $(VENV)/bin
# --prefer-binary: the last release with a ready-made wheel, so that no compiler is needed
PIP_INSTALL := $(BIN)/python -m pip --disable-pip-version-check install --quiet --prefer-binary

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test bench lint format clean install install-test install-dev

help:
	@echo 'make demo    run scenarios/quickstart.py: memory shared between captured guests, and its cost'
	@echo 'make test    run all tests'
	@echo 'make bench   time the simulator; writes benchmarks/results.json'
	@echo 'make lint    check style, format and types'
	@echo 'make format  put the sources into shape'
	@echo 'make clean   remove the virtual environment, builds and caches (out/ is kept)'
	@echo
	@echo 'Each installs what it needs into $(VENV). Variables: PYTHON, VENV, PYTEST_ARGS.'

demo: install
	$(BIN)/sharesim run scenarios/quickstart.py --out out/quickstart --force

# At most four workers: each compiles the kernels that it is the first to need.
test: install-test
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist worksteal $(PYTEST_ARGS)

bench: install
	$(BIN)/python -m benchmarks

lint: install-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: install-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

install: $(VENV)/.installed
install-test: $(VENV)/.installed-test
install-dev: $(VENV)/.installed-dev

# Stamps, so that nothing is installed twice. The install is editable: only pyproject.toml matters.
$(VENV)/.created:
	@test -n "$(PYTHON)" || { echo 'sharesim needs Python $(OLDEST) or newer, and none of' \
	  '$(CANDIDATES) is one. Install one, or name it: make PYTHON=/path/to/python3' >&2; exit 1; }
	@command -v "$(PYTHON)" >/dev/null || { \
	  echo 'PYTHON=$(PYTHON) is no command; name a Python $(OLDEST) or newer' >&2; exit 1; }
	@"$(PYTHON)" -c '$(NEW_ENOUGH)' || { echo 'sharesim needs Python $(OLDEST) or newer;' \
	  "$(PYTHON) is `"$(PYTHON)" --version 2>&1`. Name another: make PYTHON=/path/to/python3" >&2; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { echo '$(PYTHON) cannot create virtual' \
	  'environments: its modules venv and ensurepip are missing. On Debian and Ubuntu they are in the' \
	  'package python3-venv; or name another Python: make PYTHON=/path/to/python3' >&2; exit 1; }
	@echo 'Creating the virtual environment $(VENV) ...'
	@"$(PYTHON)" -m venv "$(VENV)"
	@touch $@

$(VENV)/.installed: $(VENV)/.created pyproject.toml
	@echo 'Installing sharesim into $(VENV) (the first time takes a minute or two) ...'
	@$(PIP_INSTALL) --editable .
	@touch $@

$(VENV)/.installed-test: $(VENV)/.created pyproject.toml
	@echo 'Installing sharesim and what its tests need into $(VENV) (the first time takes a minute or two) ...'
	@$(PIP_INSTALL) --editable '.[test]'
	@touch $(VENV)/.installed $@

$(VENV)/.installed-dev: $(VENV)/.created pyproject.toml
	@echo 'Installing sharesim and the development tools into $(VENV) (the first time takes a minute or two) ...'
	@$(PIP_INSTALL) --editable '.[dev]'
	@touch $(VENV)/.installed $(VENV)/.installed-test $@
