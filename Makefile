# `make demo` and `make test` work on a fresh machine: the first call installs into .venv.

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint api-docs report-schema serve chaos clean

help:  ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 16

setup:  ## Create .venv and install everything into it (once; the others call it)
	@tools/setup.sh

demo: setup  ## Prune the example model with two methods over HTTP and compare them
	@.venv/bin/secateur demo

test: setup  ## Run the tests
	@.venv/bin/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

chaos: setup  ## Kill everything under 1,200 jobs on both databases, and judge what is left (long)
	@.venv/bin/python -m tests.chaos

lint: setup  ## Check style, types and import directions
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy
	@.venv/bin/mypy tools/check_demo.py
	@.venv/bin/mypy -m tools.api_docs -m tools.report_schema
	@.venv/bin/lint-imports

api-docs: setup  ## Write docs/api.md from the API's own description
	@.venv/bin/python -m tools.api_docs

report-schema: setup  ## Write docs/report.schema.json from the report's own types
	@.venv/bin/python -m tools.report_schema

serve: setup  ## Start the service on this machine; Ctrl-C stops it
	@.venv/bin/secateur serve

clean:  ## Remove .venv, the demo's results and every cache
	rm -rf .venv demo build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find api core workers secateur tests tools examples -name __pycache__ -type d -prune -exec rm -rf {} +
