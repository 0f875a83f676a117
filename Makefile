# Linnet. `make demo` and `make test` do all their own set-up; `make help` lists the rest.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
export PYTHONPATH := layers/linnet:.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help demo test verify up down status lint bench bench-monitor sam-invoke deploy teardown redrive permissions pictures clean lock

help: ## list the commands
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 15

.venv/stack: requirements/stack.txt requirements/data.txt scripts/setup
	@scripts/setup $(PYTHON) stack

.venv/dev: requirements/dev.txt requirements/data.txt scripts/setup
	@scripts/setup $(PYTHON) dev

demo: .venv/stack ## play the whole story on this machine, with real training and real serving
	@$(BIN)/python -m local demo

test: .venv/dev ## run linters, type checks and the whole test suite
	@scripts/test

verify: ## do every check as CI does, demo and tests on a bare Debian, and print a table of them; needs root
	@$(PYTHON) scripts/verify.py

lint: .venv/dev ## run linters and type checks only
	@scripts/lint

up: .venv/stack ## start the local stack in real time and leave it running; prints AWS_ENDPOINT_URL
	@$(BIN)/python -m local up

down: ## stop the local stack
	@if [ -x $(BIN)/python ]; then $(BIN)/python -m local down; fi

bench: .venv/dev ## measure, print ratios, write build/bench/*.json
	@$(BIN)/python -m bench

bench-monitor: .venv/dev ## measure the monitor against Evidently, TFDV, whylogs and Spark; installs 4 GB of them
	@$(BIN)/python -m bench monitor

sam-invoke: .venv/dev ## sam validate, sam build and sam local invoke of every function; needs Docker, takes AWS's public images
	@scripts/sam-check public

deploy: ## build and deploy to the AWS account of your credentials: make deploy STACK=linnet
	@scripts/deploy "$(or $(STACK),linnet)"

teardown: .venv/stack ## list what Linnet made at run time and delete it after a question: make teardown STACK=linnet
	@$(BIN)/python scripts/teardown.py --stack "$(or $(STACK),linnet)" $(ARGS)

redrive: .venv/stack ## give the dead letters to their functions again, once the cause is mended: make redrive STACK=linnet
	@$(BIN)/python scripts/redrive.py --stack "$(or $(STACK),linnet)"

permissions: .venv/dev ## write docs/permissions.md from template.yaml
	@$(BIN)/python -m scripts.permissions

pictures: ## draw the state machines into docs/statemachines/ (needs Node)
	@$(PYTHON) scripts/asl/pictures.py

lock: ## renew the pinned requirements
	@scripts/lock

clean: down ## remove what the commands made
	@rm -rf build .venv .tools .aws-sam
