# `make` prints this help; `make demo` and `make test` set up everything they need.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.ready
FILES  := loadtest scenarios tests benchmarks

.PHONY: help demo test check format lock clean

help:
	@echo "make demo    set up, then measure three deployments from four regions and write the report"
	@echo "make test    set up, then run every check and every test"
	@echo "make check   the same as make test"
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
	$(BIN)/ruff format --check $(FILES)
	$(BIN)/ruff check $(FILES)
	$(BIN)/mypy
	$(BIN)/python -m pytest -q

format: $(STAMP)
	$(BIN)/ruff format $(FILES)
	$(BIN)/ruff check --fix $(FILES)

lock: $(STAMP)
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-header -o requirements/run.lock
	$(BIN)/uv pip compile pyproject.toml --group dev --universal --python-version 3.11 --generate-hashes --no-header -o requirements/dev.lock
	$(BIN)/uv pip compile requirements/image.in --universal --python-version 3.11 --generate-hashes --no-header -o requirements/image.lock

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist *.egg-info
