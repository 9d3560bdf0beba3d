# make demo, make test: each does its own set-up. Every other target, too.
PRIMARY ?= bind9
PORT ?= 5353
ARGS ?=

export PATH := $(CURDIR)/.venv/bin:$(PATH):/usr/sbin:/sbin
servers := named rndc dig nsupdate knotd knotc knsupdate pdns_server
kerberos := krb5kdc kadmin.local kinit faketime
demo-bind9 := named nslookup dig
demo-knot := knotd knotc nslookup dig
bash-scripts := $(shell grep -l '^.!.*bash' scripts/* .ci/*)

help: ## this list
	@sed -nE 's/^([a-z]+):[^#]*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

demo: ## ksd-ddns at work: a BIND (PRIMARY=knot: a Knot) on 127.0.0.1:5353 (PORT=...), example VMIs, answers
	@scripts/setup $(demo-$(PRIMARY)) && python scripts/demo.py --primary $(PRIMARY) --port $(PORT)

test: ## every test, against real named and knotd on free loopback ports (ARGS="-n 0 -x -k transfer")
	@scripts/setup --gss $(servers) $(kerberos) openssl && pytest -n auto $(ARGS)

bench: ## speed against dig and nsupdate in the same run, as ratios (ARGS=--quick: a tenth)
	@scripts/setup $(servers) && python -m bench $(ARGS)

lint: ## style and likely bugs: ruff, and shellcheck for the scripts
	@scripts/setup shellcheck && ruff check && ruff format --check && shellcheck $(bash-scripts)

types: ## mypy, strict
	@scripts/setup && mypy

layers: ## imports point down, the core does no input or output: import-linter
	@scripts/setup && lint-imports

fmt: ## formats the code
	@scripts/setup && ruff format && ruff check --fix

lock: ## refreshes the pins in requirements/ from pyproject.toml
	@scripts/setup && scripts/lock

clean: ## removes the virtual environment and the caches
	@rm -rf .venv build dist .*_cache .hypothesis && find . -name __pycache__ -prune -exec rm -rf {} +

.PHONY: help demo test bench lint types layers fmt lock clean
