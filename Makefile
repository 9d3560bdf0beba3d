# make demo, make test: each does its own set-up. Every other target, too.
PRIMARY ?= bind9
PORT ?= 5353
ARGS ?=

export PATH := $(CURDIR)/.venv/bin:$(PATH):/usr/sbin:/sbin
servers := named rndc dig nsupdate knotd knotc knsupdate pdns_server ip
kerberos := krb5kdc kadmin.local kinit faketime
demo-bind9 := named nslookup dig
demo-knot := knotd knotc nslookup dig
bash-scripts := $(shell grep -l '^.!.*bash' scripts/* cluster/* .ci/*)

# The cluster: a variant of deploy/, and where the images are kept.
VARIANT ?= bind9
export REGISTRY ?= ghcr.io
export REPO ?= kubevirt
export VARIANT OCI_BIN ARCH BASE IMAGE_TAG

help: ## this list
	@sed -nE 's/^([a-z-]+):[^#]*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 24

demo: ## ksd-ddns at work: a BIND (PRIMARY=knot: a Knot) on 127.0.0.1:5353 (PORT=...), example VMIs, answers
	@scripts/setup $(demo-$(PRIMARY)) && python scripts/demo.py --primary $(PRIMARY) --port $(PORT)

test: ## every test, against real named and knotd on free loopback ports (ARGS="-n 0 -x -k transfer")
	@scripts/setup --gss $(servers) $(kerberos) openssl && pytest -n auto $(ARGS)

bench: ## speed against dig and nsupdate in the same run, as ratios (ARGS=--quick: a tenth)
	@scripts/setup $(servers) && python -m bench $(ARGS)

lint: ## check style, likely bugs and spelling: ruff, shellcheck, codespell, scripts/words
	@scripts/setup shellcheck && ruff check && ruff format --check && shellcheck -x $(bash-scripts) && \
	    codespell && scripts/words ksd_ddns docs README.md deploy examples

types: ## mypy, strict
	@scripts/setup && mypy

layers: ## imports point down, the core does no input or output: import-linter
	@scripts/setup && lint-imports

fmt: ## formats the code
	@scripts/setup && ruff format && ruff check --fix

vet: lint types layers ## lint, types and layers

lock: ## refreshes the pins in requirements/ from pyproject.toml
	@scripts/setup && scripts/lock

vendor: lock ## the same, under the name that KubeSecondaryDNS has for it

pin-base: ## writes the digest that the registry has for the base image now into the Containerfile (needs skopeo)
	@scripts/images pin-base

build: ## the images REGISTRY/REPO/ksd-ddns[-bind9|-knot]:IMAGE_TAG, by default of this version (ARCH=s390x, OCI_BIN=buildah)
	@scripts/images build

push: ## the images to REGISTRY
	@scripts/images push

manifests: ## dist/VARIANT/secondarydns.yaml, one file to apply, for bind9, knot, ksd and secondaries
	@scripts/setup && for variant in bind9 knot ksd secondaries; do \
	    mkdir -p dist/$$variant && scripts/manifests $$variant >dist/$$variant/secondarydns.yaml || exit; done

deploy: ## VARIANT (bind9, knot, ksd, secondaries) into the cluster
	@scripts/setup && scripts/manifests $(VARIANT) | cluster/kubectl.sh apply -f -

create-nodeport: ## port 31111 of every node
	@scripts/setup && scripts/manifests nodeport | cluster/kubectl.sh apply -f -

functest: ## end-to-end tests in a cluster (KUBECONFIG, FUNCTEST_DNS=127.0.0.1:31111, ARGS=-x)
	@scripts/setup && python -m pytest -n 0 --timeout 900 functest $(ARGS)

cluster-up: ## a development cluster: kind with KubeVirt and Multus, or what KubeVirt needs into that of KUBECONFIG
	@scripts/setup && cluster/up.sh

cluster-sync: ## builds, and brings it into the cluster: build, push, deploy, create-nodeport
	@scripts/setup && cluster/sync.sh

cluster-clean: ## removes ksd-ddns from the cluster
	@scripts/setup && cluster/clean.sh

cluster-down: ## ends the development cluster
	@scripts/setup && cluster/down.sh

clean: ## removes the virtual environment and the caches
	@rm -rf .venv build dist .*_cache .hypothesis && find . -name __pycache__ -prune -exec rm -rf {} +

.PHONY: help demo test functest bench lint types layers vet fmt lock vendor pin-base build push manifests deploy create-nodeport \
	cluster-up cluster-sync cluster-clean cluster-down clean
