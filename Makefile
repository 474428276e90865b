# make help says what there is. Everything happens in .venv, which the first target makes by itself.

# The first Python that is new enough. Say make PYTHON=... for another one.
ifndef PYTHON
PYTHON := $(shell for name in python3.13 python3.12 python3.11 python3 python; do \
	$$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$name && break; done)
endif
BIN := .venv/bin
# Tests of one file stay together: they share a browser. Files come in their own order: sorted by their number
# of tests, the few that take long would all come last, and one core would wait for the other.
PYTEST_ARGS ?= -n auto --dist loadfile --no-loadscope-reorder

# Python 3.12 and newer tell which lines run at next to no cost, so there make test measures them. Before, that
# takes a third more processor time: make coverage does it all the same.
COVERAGE = $(shell $(BIN)/python -c 'import sys; print("--cov" if sys.version_info >= (3, 12) else "")')
MEASURING = $(if $(COVERAGE),COVERAGE_CORE=sysmon)

.DEFAULT_GOAL := help
.PHONY: help demo test quick coverage lint bench drill pictures translations lock clean embedded tools

help: ## say what there is
	@echo "Mailganer. make WHAT, where WHAT is one of:"
	@sed -n 's/^\([a-z][a-z-]*\):.*## \(.*\)/  \1|\2/p' $(MAKEFILE_LIST) | \
		while IFS='|' read -r name what; do printf '%-14s %s\n' "$$name" "$$what"; done

demo: embedded ## start everything on this machine and print the address; Ctrl-C stops it
	@$(BIN)/python -m mailganer serve --demo --with-parent

test: tools ## run all tests, with every real part they need
	@$(MEASURING) $(BIN)/python -m pytest $(PYTEST_ARGS) $(COVERAGE)

quick: tools ## run the tests that are quick, for what one does while working
	@$(BIN)/python -m pytest $(PYTEST_ARGS) -m "not slow"

coverage: tools ## run all tests and print which lines no test has run
	@$(MEASURING) $(BIN)/python -m pytest $(PYTEST_ARGS) --cov --cov-report=term-missing:skip-covered

lint: tools ## check style, formatting and types
	@$(BIN)/python -m ruff check .
	@$(BIN)/python -m ruff format --check .
	@$(BIN)/python -m mypy

bench: tools ## measure speed and print the tables
	@for each in benchmarks/[a-z]*.py; do $(BIN)/python $$each || exit 1; done

drill: tools ## kill and break everything on purpose, on SQLite and on PostgreSQL, and count who got what
	@$(BIN)/python -m tools.drill $(DRILL_ARGS)

pictures: tools ## take a picture of every page in every look, into var/pictures
	@$(BIN)/python -m tools.pictures var/pictures $(PICTURES_ARGS)

translations: tools ## collect the texts of the program and compile their translations
	@$(BIN)/python tools/translations.py

lock: python ## choose versions of all packages anew and write them down in requirements/
	@$(PYTHON) tools/lock.py

clean: ## remove .venv and everything that was built; your data in var/ stays
	@rm -rf .venv build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis .coverage
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

embedded: python
	@$(PYTHON) tools/environment.py embedded

tools: python
	@$(PYTHON) tools/environment.py test

.PHONY: python
python:
	@test -n "$(PYTHON)" || { echo "Mailganer needs Python 3.11 or newer, and there is none on PATH." >&2; exit 1; }
