# make demo    set up, run the main job on the embedded dataset, print the report
# make test    set up, run every test
# make lint    ruff, mypy --strict, import-linter
# make docs    set up, build the documentation into site/
# make check   lint, documentation and test: what CI runs
# A second call does not install again; delete .venv to start over.

SHELL := /bin/bash
PYTHON ?= python3
READY := .venv/.ready
BENCH := .venv/bin/bench

.PHONY: demo test lint docs check setup clean
.DEFAULT_GOAL := demo

demo: setup
	@echo "== Main job: frozen ImageNet features and the framework on the embedded dataset (some minutes)"
	$(BENCH) run -m imagenet -m ours -d emoji
	@echo "== Report of everything stored in bench.db"
	$(BENCH) report -d emoji

test: setup
	@echo "== Tests"
	.venv/bin/python -m pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

# mypy and import-linter read the code in the layout that an installation has: bench.methods, bench.datasets, bench.reports.
lint: setup
	@echo "== Linters"
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	@rm -rf .lint && mkdir .lint && cp -r bench tools .lint && cp -r methods datasets reports .lint/bench
	cd .lint && ../.venv/bin/mypy --config-file ../pyproject.toml
	cd .lint && ../.venv/bin/lint-imports --no-logo --config ../pyproject.toml

docs: setup
	@echo "== Documentation"
	NO_MKDOCS_2_WARNING=1 .venv/bin/mkdocs build --strict --quiet

check: lint docs test

setup: $(READY)

# uv takes wheels from where pip was told to find them, too: PIP_FIND_LINKS may hold torch on a machine without network.
$(READY): pyproject.toml setup.py constraints.txt
	@echo "== Setting up .venv (torch is large: some minutes the first time)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed: call make PYTHON=/path/to/python3.11"; exit 1; }
	@if command -v uv >/dev/null; then \
		echo "with uv"; \
		{ [ -x .venv/bin/python ] || uv venv --python "$$(command -v $(PYTHON))" .venv; } && \
		UV_FIND_LINKS="$${UV_FIND_LINKS:-$$PIP_FIND_LINKS}" uv pip install --python .venv/bin/python -c constraints.txt -e '.[dev]'; \
	else \
		echo "with venv and pip"; \
		{ [ -x .venv/bin/python ] || $(PYTHON) -m venv .venv; } && \
		.venv/bin/python -m pip install --quiet -c constraints.txt -e '.[dev]'; \
	fi
	@touch $(READY)

clean:
	rm -rf .venv
