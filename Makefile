# rescored: `make app` opens the workbench, `make test` runs the tests; nothing else is needed first.
PYTHON ?= python3
VENV   ?= .venv
BIN     = $(VENV)/bin
DATA   ?= ../shared/data

.PHONY: app setup test test-service lint bench bench-page bench-rhythms notebooks clean

app: setup  # on one's own machine nobody needs to be limited by the hour, and logs are for people
	RESCORED_JOBS_AN_HOUR=$${RESCORED_JOBS_AN_HOUR:-0} RESCORED_LOG=$${RESCORED_LOG:-plain} $(BIN)/python app.py

setup: $(VENV)/.installed
test: $(VENV)/.installed-tests
	$(BIN)/pytest -n 2 --dist loadfile

# Whole jobs through worker processes, on servers of their own (Debian: redis-server, postgresql).
test-service: $(VENV)/.installed-tests
	$(BIN)/pytest -m service

lint: $(VENV)/.installed-tests
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: $(VENV)/.installed-tests
	$(BIN)/python tools/bench.py --data $(DATA) $(if $(ONLY),--only $(ONLY))

bench-page: $(VENV)/.installed-tests
	$(BIN)/python tools/bench_page.py

bench-rhythms: $(VENV)/.installed-tests
	$(BIN)/python tools/bench_rhythms.py

notebooks: setup
	$(BIN)/jupyter lab notebooks

clean:
	rm -rf $(VENV) build *.egg-info

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "rescored needs Python 3.11 or newer; try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)

# Two steps, because some packages declare dependencies that must not be installed (requirements-nodeps.txt).
$(VENV)/.installed: requirements.txt requirements-nodeps.txt pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r requirements-nodeps.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

$(VENV)/.installed-tests: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	touch $@
