# make demo         see agents write to and read from a CRM, and a prompt being built from it
# make test         lint, types and every test, also against a real server on a real PostgreSQL

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
DEMO := .venv/.demo
DEV := .venv/.dev
BENCHMARKS := chain_overhead exporters import_time memory_query rag_wall_time rag_packing rag_tokens rag_against_peer redaction \
	ci_guard throughput shared_requests request_cost waiting_memory

# Node comes as a wheel; pyright keeps what it installs inside .venv.
export PYRIGHT_PYTHON_GLOBAL_NODE := 0
export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1
export PYRIGHT_PYTHON_CACHE_DIR := $(CURDIR)/.venv/pyright
export XDG_CACHE_HOME := $(CURDIR)/.venv/cache

.PHONY: demo demo-server test test-deep faults soak lint bench clean

demo: $(DEMO)
	$(BIN)/python -m examples.closing_example
	$(BIN)/python -m examples.crm_demo

demo-server: $(DEV)
	$(BIN)/python -m tests.server -- $(BIN)/python -m examples.crm_demo

test: lint
	$(BIN)/pytest -q -n 2

# The differential suite and the adversaries with thousands of examples instead of hundreds.
test-deep: $(DEV)
	AGENT_PERSISTENCE_DEEP=1 $(BIN)/pytest -q -n 2 tests/differential tests/security

# Some 80,000 broken connections and lying answers over both transports, then storms and outages; prints the scoreboard.
faults: $(DEV)
	$(BIN)/python -m tests.faults --cases 52000 --plot docs/faults.svg

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

bench: $(DEV)
	$(BIN)/pip install --quiet -c constraints.txt --group bench
	for script in $(BENCHMARKS); do $(BIN)/python benchmarks/$$script.py || exit 1; done

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache tests/server/node_modules

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; set PYTHON=…")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --upgrade pip

$(DEMO): $(BIN)/python pyproject.toml constraints.txt
	$(BIN)/pip install --quiet -c constraints.txt -e '.[demo]'
	@touch $@

$(DEV): $(BIN)/python pyproject.toml constraints.txt
	$(BIN)/pip install --quiet -c constraints.txt -e . --group dev
	@touch $@ $(DEMO)
