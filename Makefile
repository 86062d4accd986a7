# The only command surface: every target is a line or two, logic lives in Python.
PYTHON ?= python3
UV := $(or $(shell command -v uv),.tools/uv)
ENVIRONMENT := .venv/.synced
REPORT := reports/index.html
# Given on the command line or not at all: a variable of the environment by chance is none.
SOURCE :=
BASE := origin/main
NAME :=
REPLACE := no
SKIP_BAD := no
flag = $(if $(filter yes,$($1)),$2,$(if $(filter-out no,$($1)),$(error $1=$($1): say yes or no)))

export BASE NAME
export PATH := $(CURDIR)/.venv/bin:$(PATH)
unexport PYTHONDONTWRITEBYTECODE VIRTUAL_ENV # imports are twice as slow without bytecode

# An interrupted run must not delete what Git tracks.
.PRECIOUS: dvc.lock
.PHONY: all help data repro report review serve tune test lint bench bench-serving clean

all: report ## Set up, train, quantize, evaluate and report (also: make)
	@python -m pipelines.review.summary $(REPORT)

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' Makefile

data: $(ENVIRONMENT) ## Restore data/; or add SOURCE=<folder, archive or s3://bucket/prefix> [REPLACE=yes] [SKIP_BAD=yes]
	@python -m pipelines.training.$(if $(SOURCE),ingest "$$SOURCE" $(call flag,REPLACE,--replace) $(call flag,SKIP_BAD,--skip-bad),restore)

repro: dvc.lock ## Run the stages of dvc.yaml that are out of date

report: $(REPORT) ## Write reports/index.html

review: report ## Judge against BASE=origin/main or another revision, report, comment on the merge request
	@python -m pipelines.review --base "$$BASE" --name "$$NAME"

serve: report ## Serve the newest model on http://127.0.0.1:8080
	@env $(shell cat reports/tune.env 2>/dev/null) python -m serving

tune: report ## Find the fastest settings for this model and machine; serve goes by them
	python -m benchmarks.serving.tune

test: report ## Run every test
	pytest

lint: $(ENVIRONMENT) ## Check style and types
	ruff check
	ruff format --check
	mypy

bench: report ## Measure speed
	python -m benchmarks

bench-serving: report ## Measure the server beside MLServer, KServe, BentoML and LitServe
	python -m benchmarks.serving

clean: ## Remove what the pipeline made; data/ and DVC's cache stay
	git clean -fdXq artifacts reports

# DVC leaves the lock alone when nothing changed, and make then leaves the report alone.
dvc.lock: data
	dvc repro

$(REPORT): dvc.lock $(wildcard pipelines/review/*.py pipelines/review/*.j2)
	python -m pipelines.review.page $@

$(ENVIRONMENT): uv.lock pyproject.toml | $(UV)
	$(UV) sync --locked
	@touch $@

.tools/uv:
	$(PYTHON) .ci/bootstrap.py $@
