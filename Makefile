# `make` alone lists what there is.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.made

.DEFAULT_GOAL := help
.PHONY: help env demo serve test pgbouncer haproxy mariadb chaos bench table pictures docs check format lock clean

help: ## list what there is
	@echo "Holdfast: conversations and approvals that survive anything"
	@echo
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 18

env: $(STAMP) ## make the environment in .venv, if it is not there

$(STAMP): requirements.lock
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(None if v >= (3, 11) else \
	  "Holdfast needs Python 3.11 or newer; %s is %d.%d. Say which to use: make PYTHON=python3.12 ..." % (sys.executable, v[0], v[1]))'
	@echo "Making the environment in $(VENV) (once; it takes one to three minutes) ..."
	@rm -rf $(VENV)
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(STAMP) ## the main job: ask, pause for a person, kill -9, approve, go on
	@$(BIN)/python -m holdfast.demo

serve: $(STAMP) ## LangGraph's server with the agent, on http://127.0.0.1:2024 and sqlite:///holdfast.db
	@$(BIN)/holdfast serve

test: $(STAMP) ## the fast suite: a SQLite file, a real PostgreSQL
	@# Three on two cores: some wait for what they have started. Compiled modules are kept, even where the environment says
	@# no: the tests start some forty interpreters.
	@PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n 3 --dist worksteal -q

pgbouncer: ## PgBouncer for the tests of poolers, where apt-get may; without it they are skipped
	@command -v pgbouncer >/dev/null || test -x /usr/sbin/pgbouncer || { test "$$(id -u)" = 0 && command -v apt-get >/dev/null \
	  && apt-get update -qq && apt-get install -qq --yes --no-install-recommends pgbouncer >/dev/null; } \
	  || echo "PgBouncer is not here, and apt-get may not install it: the tests of poolers will be skipped."

haproxy: ## HAProxy for the test of the deployment guide, where apt-get may; without it that is skipped
	@command -v haproxy >/dev/null || test -x /usr/sbin/haproxy || { test "$$(id -u)" = 0 && command -v apt-get >/dev/null \
	  && apt-get update -qq && apt-get install -qq --yes --no-install-recommends haproxy >/dev/null; } \
	  || echo "HAProxy is not here, and apt-get may not install it: the test of the deployment guide will be skipped."

mariadb: ## MariaDB for the tests of imports from it, where apt-get may; without it they are skipped
	@command -v mariadbd >/dev/null || test -x /usr/sbin/mariadbd || { test "$$(id -u)" = 0 && command -v apt-get >/dev/null \
	  && apt-get update -qq && apt-get install -qq --yes --no-install-recommends mariadb-server >/dev/null; } \
	  || echo "MariaDB is not here, and apt-get may not install it: the tests of imports from it will be skipped."

chaos: $(STAMP) ## what no test has time for: 1,000 processes and 200 servers killed, 200 rounds of races, 50 restarts and 5 failovers of PostgreSQL, sweeps; an hour
	@# Another seed, less of it, or a part: make chaos WITH="--seed 7 --kills 100 --only kills"
	@$(BIN)/python -W ignore -m tests.chaos $(WITH)

bench: $(STAMP) ## what a conversation costs beside the stock savers, into bench/results; 15 minutes
	@# In three minutes, and printed only: make bench WITH=--quick. A part, kept: make bench WITH="crowd --out bench/results"
	@$(BIN)/python -W ignore -m bench $(or $(WITH),--out bench/results)

table: $(STAMP) ## write the figures of bench/results into the pages
	@$(BIN)/python -W ignore -m bench.table

pictures: $(STAMP) ## draw the pictures in docs/pictures, that of an approval from what the commands print
	@$(BIN)/python -m docs.pictures

docs: ## a site of the pages, in site/, with the reference of the public names
	@test -d $(VENV)-docs || { $(PYTHON) -m venv $(VENV)-docs && $(VENV)-docs/bin/python -m pip install --quiet \
	  --disable-pip-version-check --no-deps --require-hashes -r requirements-docs.lock; }
	@rm -rf build/docs && mkdir -p build/docs
	@git ls-files --cached --others --exclude-standard '*.md' '*.svg' examples tests/fundamentals LICENSE langgraph.json \
	  | tar -cf - -T - | tar -xf - -C build/docs
	@PYTHONPATH=. $(VENV)-docs/bin/zensical build --clean
	@echo "Open site/index.html, or run: python -m http.server --directory site --bind 127.0.0.1"

check: $(STAMP) ## format, lint, strict types, import layers
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(STAMP) ## put the code into its format
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

LOCKED_EXTRAS = postgres langchain openai histories encryption cli web server # not the checkpointers of others

lock: ## resolve the dependencies anew into requirements.lock
	@$(PYTHON) -m venv $(VENV)-lock && $(VENV)-lock/bin/python -m pip install --quiet --disable-pip-version-check uv
	@$(VENV)-lock/bin/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-header $(LOCKED_EXTRAS:%=--extra %) --group dev --output-file requirements.lock pyproject.toml
	@$(VENV)-lock/bin/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-header --group docs --output-file requirements-docs.lock
	@rm -rf $(VENV)-lock

clean: ## remove the environment and every cache
	@rm -rf $(VENV) $(VENV)-docs site build .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
