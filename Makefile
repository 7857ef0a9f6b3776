# `make` prints this help; `make demo` and `make test` set up everything they need.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.ready
FILES  := loadtest scenarios tests benchmarks
# Bytecode is kept, tests' too, whatever the environment says: every program of a world is a process.
unexport PYTHONDONTWRITEBYTECODE
# A run that says its machine was too busy to measure, or moved, is right, and is measured again.
BUSY   := --reruns 3 --only-rerun "less other work|too busy to emulate|moved by itself"
# Tests wait, too: one more of them than there are cores keeps all busy.  Of those with real parts,
# which take more memory and measure, three: the whole program first, which takes longest.
UNITS   = $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1)
SIDE   := 3

.PHONY: help demo test check lint types types-of-tests unit faults foreign flyctl coverage package site format lock clean

help:
	@echo "make demo    set up, then measure three deployments from four regions and write the report"
	@echo "make test    set up, then run every check and every test"
	@echo "make check   the same as make test"
	@echo "make unit    the tests that need neither Linux nor real servers"
	@echo "make faults  the whole campaign of faults: stored and live runs that are bent or broken"
	@echo "make foreign  the gate on apps of others, which are built with what registries give"
	@echo "make flyctl  Fly's own command against our files and the emulated API; it has to be on PATH"
	@echo "make coverage  branch coverage of what decides a verdict, with its floor"
	@echo "make package wheel and sdist, tried in an empty environment and an empty folder"
	@echo "make site    the documentation as a web site (build/site)"
	@echo "make format  rewrite the code in the project's format"
	@echo "make lock    resolve the dependencies anew (requirements/*.lock)"
	@echo "make clean   remove the environment and caches"

$(STAMP): requirements/dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "loadtest needs Python 3.11 or later, this is " + sys.version)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $(STAMP)

demo: $(STAMP)
	$(BIN)/loadtest run --regions cdg,ord,syd,scl

test: check

check: $(STAMP)
	$(MAKE) --no-print-directory --jobs 2 --output-sync lint types types-of-tests
	$(BIN)/python -m pytest -q -n $(UNITS) -m "not contract and not e2e and not slow"
	$(BIN)/python -m pytest -q -n $(SIDE) --dist loadfile --no-loadscope-reorder $(BUSY) -m "(contract or e2e) and not slow"

lint: $(STAMP)
	$(BIN)/ruff format --check $(FILES)
	$(BIN)/ruff check $(FILES)

types: $(STAMP)
	$(BIN)/mypy

types-of-tests: $(STAMP)
	$(BIN)/mypy --config-file tests/mypy.ini --cache-dir .mypy_cache/tests

unit: $(STAMP)
	$(BIN)/python -m pytest -q -m "not contract and not e2e and not slow"

faults: $(STAMP)
	$(BIN)/python -m pytest -q -m "slow or not slow" tests/faults

foreign: $(STAMP)
	$(BIN)/python -m pytest -q -m slow tests/foreign

flyctl: $(STAMP)
	@command -v flyctl >/dev/null || { echo "flyctl is not on PATH: https://fly.io/docs/flyctl/install" >&2; exit 1; }
	$(BIN)/python -m pytest -q -m slow tests/fly/test_flyctl.py

coverage: $(STAMP)
	$(BIN)/python -m coverage run -m pytest -q -m "not contract and not e2e and not slow" tests/analysis tests/gate tests/plan tests/records tests/run tests/report tests/test_cli_verdicts.py
	$(BIN)/python -m coverage report

package: $(STAMP)
	rm -rf build/dist build/empty
	$(PYTHON) -m venv build/empty
	$(BIN)/python -m build --outdir build/dist
	build/empty/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/run.lock
	build/empty/bin/python -m pip install --quiet --disable-pip-version-check --no-deps build/dist/*.whl
	mkdir build/empty/here
	cd build/empty/here && ../bin/loadtest --help > /dev/null
	cd build/empty/here && ../bin/loadtest run --regions cdg,ord --duration 17 --looks 1 --out run; test $$? -le 12  # a verdict, whichever
	test -s build/empty/here/run/report.html
	mkdir -p dist && cp build/dist/* dist/

site: requirements/site.lock
	$(PYTHON) -m venv .venv-site
	.venv-site/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/site.lock
	NO_MKDOCS_2_WARNING=1 .venv-site/bin/python -m mkdocs build --strict --quiet

format: $(STAMP)
	$(BIN)/ruff format $(FILES)
	$(BIN)/ruff check --fix $(FILES)

lock: $(STAMP)
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-header -o requirements/run.lock
	$(BIN)/uv pip compile pyproject.toml --group dev --universal --python-version 3.11 --generate-hashes --no-header -o requirements/dev.lock
	$(BIN)/uv pip compile --group site --universal --python-version 3.11 --generate-hashes --no-header -o requirements/site.lock
	$(BIN)/uv pip compile requirements/image.in --universal --python-version 3.11 --generate-hashes --no-header -o requirements/image.lock
	$(BIN)/uv pip compile requirements/build.in --universal --python-version 3.11 --generate-hashes --no-header -o requirements/build.lock

clean:
	rm -rf $(VENV) .venv-site .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist *.egg-info
