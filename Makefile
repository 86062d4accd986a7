# The only command surface: every target is a line or two, logic lives in Python.
PYTHON ?= python3
UV := $(or $(shell command -v uv),.tools/uv)
# uv's own variable: CI on one machine shares an environment between jobs.
VENV := $(or $(UV_PROJECT_ENVIRONMENT),.venv)
ENVIRONMENT := $(VENV)/.synced
REPORT := reports/index.html
# Given on the command line or not at all: a variable of the environment by chance is none.
SOURCE :=
LABELS :=
LOG :=
SAMPLES :=
KEY :=
BASE := origin/main
NAME :=
TAG :=
PROMETHEUS :=
ENV :=
INTO :=
SNAPSHOT :=
REFILL := no
REPLACE := no
SKIP_BAD := no
PUSH := no
UNTRACKED = $(shell git ls-files --others --ignored --exclude-standard --directory)
# A file of tests stays on one worker; the long ones come first, as tests/conftest.py has them.
PARALLEL := --numprocesses=auto --dist=loadfile --no-loadscope-reorder --durations=10
OSV_URL ?= https://api.osv.dev
flag = $(if $(filter yes,$($1)),$2,$(if $(filter-out no,$($1)),$(error $1=$($1): say yes or no)))

export BASE NAME TAG ENV INTO SNAPSHOT PROMETHEUS LABELS LOG SAMPLES KEY
export PATH := $(abspath $(VENV))/bin:$(PATH)
unexport PYTHONDONTWRITEBYTECODE VIRTUAL_ENV # imports are twice as slow without bytecode

# An interrupted run must not delete what Git tracks.
.PRECIOUS: dvc.lock
.PHONY: all data repro report review serve tune
.PHONY: test check lint check-lock audit bench bench-serving
.PHONY: release verify-release promote deploy status rollback history
.PHONY: image check-k8s deploy-k8s
.PHONY: backup restore restore-drill
.PHONY: watch drift rules retrain samples feedback
.PHONY: forge clean help

##@ Model

all: report ## Set up, train, quantize, evaluate and report (also: make)
	@python -m pipelines.review.summary $(REPORT)

data: $(ENVIRONMENT) ## Restore data/; or add SOURCE=<folder, archive or s3://bucket/prefix> [REPLACE=yes] [SKIP_BAD=yes]
	@python -m pipelines.training.$(if $(SOURCE),ingest "$$SOURCE" $(call flag,REPLACE,--replace) $(call flag,SKIP_BAD,--skip-bad),restore)

repro: dvc.lock ## Run the stages of dvc.yaml that are out of date; PUSH=yes also stores what they made

report: $(REPORT) ## Write reports/index.html

review: report ## Judge against BASE=origin/main or another revision, report, comment on the merge request
	@python -m pipelines.review --base "$$BASE" --name "$$NAME"

serve: report ## Serve the newest model on http://127.0.0.1:8080
	@env $(shell cat reports/tune.env 2>/dev/null) python -m serving

tune: report ## Find the fastest settings for this model and machine; serve goes by them
	python -m benchmarks.serving.tune

##@ Quality

test: data report ## Run every test, on all cores
	pytest $(PARALLEL)

check: lint data report ## Check style and types, and run the tests that take seconds: before each commit
	pytest $(PARALLEL) --ignore=tests/system

lint: $(ENVIRONMENT) ## Check style and types, and that no secret was ever committed
	ruff check && ruff format --check
	mypy
	@kingfisher scan . --branch HEAD --quiet --redact --no-validate --no-update-check $(addprefix --exclude ,$(UNTRACKED))

check-lock: $(ENVIRONMENT) ## Check that dvc.lock matches code and params, and that the remote has all it names
	@python -m pipelines.tracking.check_lock

audit: $(ENVIRONMENT) ## Ask OSV whether a pinned package has a known weakness
	uv audit --preview-features audit-command --locked --service-url "$(OSV_URL)"

bench: report ## Measure speed
	python -m benchmarks

bench-serving: report ## Measure the server beside MLServer, KServe, BentoML and LitServe
	python -m benchmarks.serving

##@ Releases

release: repro ## Judge, bundle, sign and publish the release TAG=v1.2.3
	@python -m pipelines.delivery.release "$$TAG"

verify-release: $(ENVIRONMENT) ## Check signature, bytes and origin of the published release TAG=v1.2.3
	@python -m pipelines.delivery.verify "$$TAG"

promote: $(ENVIRONMENT) ## Let ENV=staging or production run TAG=v1.2.3, by a commit; PUSH=yes asks for a merge request
	@python -m pipelines.delivery.promote "$$ENV" "$$TAG" $(call flag,PUSH,--push)

deploy: $(ENVIRONMENT) ## Let the servers of ENV=staging, or of all environments, follow Git: first one, then the others
	@python -m pipelines.delivery.servers deploy $(if $(ENV),"$$ENV")

status: $(ENVIRONMENT) ## Say which server of ENV=production serves what, and whether that is what Git says
	@python -m pipelines.delivery.servers status "$$ENV"

rollback: $(ENVIRONMENT) ## Let ENV=production run what it ran before, or TAG=v1.2.1; PUSH=yes as above
	@python -m pipelines.delivery.rollback "$$ENV" $(if $(TAG),"$$TAG") $(call flag,PUSH,--push)

history: $(ENVIRONMENT) ## List what ENV=production ran when
	@python -m pipelines.delivery.history "$$ENV"

##@ Clusters

image: $(ENVIRONMENT) ## Build the container images of the release TAG=v1.2.3; PUSH=yes also pushes them
	@python -m pipelines.delivery.image "$$TAG" $(call flag,PUSH,--push)

check-k8s: $(ENVIRONMENT) ## Render every overlay and component, and check them for each supported Kubernetes
	@python -m pipelines.clusters check

deploy-k8s: $(ENVIRONMENT) ## Let the cluster of ENV=staging follow Git: show the difference, apply, ask it, or undo
	@python -m pipelines.clusters deploy "$$ENV"

##@ Recovery

backup: $(ENVIRONMENT) ## Copy Git, data and releases that are new to the second bucket, and let go what need not be kept
	@python -m pipelines.recovery.backup

restore: $(ENVIRONMENT) ## Bring a backup back INTO=folder [SNAPSHOT=name]; REFILL=yes also fills the first buckets
	@python -m pipelines.recovery.restore "$$INTO" $(if $(SNAPSHOT),--snapshot "$$SNAPSHOT") $(call flag,REFILL,--refill)

restore-drill: $(ENVIRONMENT) ## Restore into an empty place and prove that nothing is lost
	@python -m pipelines.recovery.drill

##@ Watching

watch: report ## Serve, ask and watch the newest model on this machine
	@python -m pipelines.operations.watch

drift: $(ENVIRONMENT) ## Hold what PROMETHEUS=http://127.0.0.1:9090 has seen against what releases were evaluated on
	@python -m pipelines.operations.drift --prometheus "$$PROMETHEUS"

rules: $(ENVIRONMENT) ## Write rules and dashboards from monitoring/objectives.yaml, templates/ and panels/
	@python -m pipelines.operations.rules
	@python -m pipelines.operations.dashboards

retrain: $(ENVIRONMENT) ## Train again on main, with new data of SOURCE=... if given, and ask for one merge request
	@python -m pipelines.operations.retrain $(if $(SOURCE),"$$SOURCE")

samples: $(ENVIRONMENT) ## Unseal the pictures that servers kept in SAMPLES=folder by KEY=samples.pem INTO=folder, to be labelled
	@python -m pipelines.operations.samples "$$SAMPLES" "$$KEY" "$$INTO"

feedback: $(ENVIRONMENT) ## Say how right each release was: join LABELS=labels.csv, which came later, with the server's LOG=access.log
	@python -m pipelines.operations.feedback "$$LABELS" "$$LOG"

##@ Around

forge: $(ENVIRONMENT) ## Set up a forge on this machine: git push to it runs the real pipeline
	@python -m pipelines.local_forge

clean: ## Remove what the pipeline made; data/ and DVC's cache stay
	git clean -fdXq artifacts reports

help: ## List the targets
	@awk -F ':.*## ' '/^##@ / { print "\n" substr($$0, 5) } /^[a-z0-9-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile

# DVC leaves the lock alone when nothing changed, and make then leaves the report alone.
dvc.lock: $(ENVIRONMENT) always
	@python -m pipelines.tracking.reproduce $(call flag,PUSH,--push)

always:

$(REPORT): dvc.lock $(wildcard pipelines/review/*.py pipelines/review/*.j2)
	python -m pipelines.review.page $@

$(ENVIRONMENT): uv.lock pyproject.toml | $(UV)
	$(UV) sync --locked
	-@git config merge.dvc-lock.driver "PYTHONPATH='$(CURDIR)' '$(abspath $(VENV))/bin/python' -m pipelines.tracking.merge_lock %O %A %B %P"
	@touch $@

.tools/uv:
	$(PYTHON) .ci/bootstrap.py $@
