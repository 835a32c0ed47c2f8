# Flame, by `make`: everything from a bare clone. `make help` lists the targets.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

bin := .venv/bin
python := $(bin)/python
sources := src tests examples bench

# Of `make fuzz`: how long for each target, and which of them; all by default.
seconds := 60
targets :=

# Stamps: a second call installs nothing until pyproject.toml changes. The test set holds the run set.
for-run := .venv/installed-for-run
for-test := .venv/installed-for-test

help:  ## list these targets
	@sed -n 's/^\([a-z-]*\):.*  ## \(.*\)/  make \1|\2/p' Makefile | while IFS='|' read -r name text; do printf '%-14s %s\n' "$$name" "$$text"; done

run: $(for-run)  ## ten hospitals train one model (the Med-MNIST federation); prints the result
	@$(python) examples/medmnist/prepare.py
	@$(bin)/flame run examples/medmnist --out runs/medmnist
	@echo; echo 'and what each hospital reaches alone, on the same test images:'
	@$(python) examples/medmnist/compare.py "each alone"

test: check  ## everything: all of `check`, then every test
	$(python) -m pytest -n 2

check: format lint types layers dependencies docs  ## format, lint, types, layering, dependencies, docs

bench: $(for-run)  ## measure speed and memory beside plain PyTorch: a table, and bench/results.json
	@$(python) -m bench

fuzz: $(for-test)  ## fuzz every reader of foreign bytes, a minute each; longer: make fuzz seconds=600
	$(python) tests/fuzz/fuzz.py --seconds $(seconds) $(targets)

fix: $(for-test)  ## mend what format and lint can mend, and draw templates again
	$(bin)/ruff check --fix $(sources)
	$(bin)/ruff format $(sources)
	$(python) docs/drawings.py

docs: $(for-test)  ## build the documentation into site/, warnings are errors
	@NO_MKDOCS_2_WARNING=1 $(python) -m mkdocs build --strict --quiet && echo 'docs: built into site/'

clean:  ## remove everything that can be made again
	rm -rf .venv site build dist runs .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find $(sources) -name __pycache__ -type d -prune -exec rm -rf {} +

format: $(for-test)
	$(bin)/ruff format --check $(sources)

lint: $(for-test)
	$(bin)/ruff check $(sources)

types: $(for-test)
	$(python) -m mypy

layers: $(for-test)
	@$(bin)/lint-imports --no-logo --cache-dir .import_linter_cache

dependencies: $(for-test)
	$(bin)/deptry --optional-dependencies-dev-groups dev,examples,lora src

$(for-run): pyproject.toml .ci/install
	@sh .ci/install torch,examples
	@touch $@

$(for-test): pyproject.toml .ci/install
	@sh .ci/install torch,examples,dev
	@touch $(for-run) $@

.PHONY: help run test check bench fuzz fix docs clean format lint types layers dependencies
