# At most ten verbs. CI runs the same ones.
PY ?= .venv/bin/python

install: ## virtual environment with the test extra
	python3 -m venv .venv && .venv/bin/pip install -q -c constraints.txt -e '.[test]'
check: ## format, lint, types, registry drift
	$(PY) -m ruff format --check . && $(PY) -m ruff check . && $(PY) -m mypy && $(PY) -m tintype_server registry check
test: ## all tests
	$(PY) -m pytest -n auto --dist loadfile
sdk: ## the published SDKs, which tests/sdk asks
	cd tests && ../$(PY) -c "from support import dragoneye, edgefirst, sdk; print(sdk.installed(), dragoneye.installed(), *map(edgefirst.installed, edgefirst.VERSIONS))"
registry: ## write registry.json and docs/tools.md
	$(PY) -m tintype_server registry export
demo: ## the main job, end to end
	$(PY) -m tintype_server demo
bench: sdk ## short form of every benchmark
	for b in benchmarks/bench_*.py; do $(PY) $$b --quick || exit 1; done
docs: ## the documentation as a site, in docs/_build (needs the extra `docs`)
	$(PY) -m sphinx -nWq --keep-going docs docs/_build
ci: ## what CI runs
	bash .ci/run
help: ## this list
	@grep -E '^[a-z]+:.*##' Makefile | sed 's/:.*## /\t/'

.PHONY: install check test sdk registry demo bench docs ci help
