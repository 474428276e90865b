# make help lists the targets. Everything runs in .venv, which the first target creates.

# The first Python that is new enough. Use make PYTHON=... for another one.
ifndef PYTHON
PYTHON := $(shell for name in python3.13 python3.12 python3.11 python3 python; do \
	$$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$name && break; done)
endif
BIN := .venv/bin
# Tests of one file run in one worker, because they share a browser. Files keep their own order: sorted by their
# number of tests, the few slow ones would all run last, and one core would wait for the other.
PYTEST_ARGS ?= -n auto --dist loadfile --no-loadscope-reorder

# Measuring coverage costs next to nothing on Python 3.12 and newer, so make test does it there. On 3.11 it takes a
# third more processor time; make coverage measures it all the same.
COVERAGE = $(shell $(BIN)/python -c 'import sys; print("--cov" if sys.version_info >= (3, 12) else "")')
MEASURING = $(if $(COVERAGE),COVERAGE_CORE=sysmon)

.DEFAULT_GOAL := help
.PHONY: help demo test quick coverage lint bench drill screenshots translations lock clean embedded tools

help: ## list the targets
	@echo "Mailganer. make WHAT, where WHAT is one of:"
	@sed -n 's/^\([a-z][a-z-]*\):.*## \(.*\)/  \1|\2/p' $(MAKEFILE_LIST) | \
		while IFS='|' read -r name what; do printf '%-14s %s\n' "$$name" "$$what"; done

demo: embedded ## start everything on this machine and print the address; Ctrl-C stops it
	@$(BIN)/python -m mailganer serve --demo --with-parent

test: tools ## run all tests, with every service they need
	@$(MEASURING) $(BIN)/python -m pytest $(PYTEST_ARGS) $(COVERAGE)

quick: tools ## run the fast tests, for use while working
	@$(BIN)/python -m pytest $(PYTEST_ARGS) -m "not slow"

coverage: tools ## run all tests and print the lines that no test runs
	@$(MEASURING) $(BIN)/python -m pytest $(PYTEST_ARGS) --cov --cov-report=term-missing:skip-covered

lint: tools ## check style, formatting and types
	@$(BIN)/python -m ruff check .
	@$(BIN)/python -m ruff format --check .
	@$(BIN)/python -m mypy

bench: tools ## measure speed and print the tables; BENCH=clicks runs one part
	@for each in benchmarks/$(or $(BENCH),[a-z]*).py; do $(BIN)/python $$each || exit 1; done

drill: tools ## kill every part on purpose, on SQLite and PostgreSQL, and check what each recipient got
	@$(BIN)/python -m tools.drill $(DRILL_ARGS)

screenshots: tools ## take a screenshot of every page in every variant, into var/screenshots
	@$(BIN)/python -m tools.screenshots var/screenshots $(SCREENSHOTS_ARGS)

translations: tools ## extract the texts of the program and compile their translations
	@$(BIN)/python tools/translations.py

lock: python ## resolve the versions of all packages anew and write requirements/
	@$(PYTHON) tools/lock.py

clean: ## remove .venv and all build results; your data in var/ stays
	@rm -rf .venv build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis .coverage
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

embedded: python
	@$(PYTHON) tools/environment.py embedded

tools: python
	@$(PYTHON) tools/environment.py test

.PHONY: python
python:
	@test -n "$(PYTHON)" || { echo "Mailganer needs Python 3.11 or newer, and there is none on PATH." >&2; exit 1; }
