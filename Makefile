# `make help` lists the targets. Everything that is installed or built goes under .work/.
SHELL := /bin/bash
.DEFAULT_GOAL := help

venv := $(CURDIR)/.work/venv/bin
export PATH := $(venv):$(PATH):/usr/sbin:/sbin
export ANSIBLE_COLLECTIONS_PATH := $(CURDIR)/.work/collections
# More arguments for pytest or molecule: make test-kernel ARGS='-k ipvlan -x'
ARGS ?=

# Two at a time, one for each core of a small machine; the longest first.
steps := test-kernel test-docker test-reboot test-hosts test-role lint test-unit test-report docs test-lab test-installed test-ends test-galaxy test-sanity

.PHONY: help demo soak test steps $(steps) $(steps:%=timed-%) test-matrix test-first-hour faults bench bench-ipam bench-endpoints bench-trunk build release lab setup clean

help: ## this list
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 28

demo: setup ## the VLAN map on a trunk with a switch and a router behind it, shown step by step
	@tests/demo/run

test: setup ## everything: all the steps below, two at a time; the output of each when it is through
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=target $(steps:%=timed-%)

steps: # for CI: the steps of `make test`, as JSON
	@printf '%s\n' $(steps) | sed 's/.*/"&"/' | paste --serial --delimiters=, | sed 's/.*/[&]/'

$(steps:%=timed-%): timed-%:
	@SECONDS=0; $(MAKE) --no-print-directory $* || { echo "=== $* FAILED after $$SECONDS s"; exit 1; }; \
	    echo "=== $* passed in $$SECONDS s"

lint: setup ## ruff, mypy, shellcheck, yamllint, ansible-lint (profile production), antsibull-docs, changelog fragments
	ruff check
	ruff format --check
	mypy
	shellcheck $$(git ls-files | xargs awk 'FNR == 1 && /^#!.*sh$$/ { print FILENAME } { nextfile }')
	yamllint --strict .
	ansible-lint --offline
	antsibull-changelog lint
	antsibull-docs lint-collection-docs --plugin-docs --validate-collection-refs all .

test-galaxy: setup build ## what Galaxy itself does with the built tarball when it is uploaded
	tests/galaxy/run

test-sanity: setup ## ansible-test sanity, complete, without an ignore file
	tests/sanity/run $(ARGS)

test-unit: setup ## the pure parts; needs no root
	python -m pytest tests/unit $(ARGS)

test-report: setup ## what the filters draw, read by Graphviz and a browser
	python -m pytest tests/report $(ARGS)

docs: setup ## the documentation as a site, in .work/docs; its links, and a look at it by a browser
	docs/site/build
	python -m pytest tests/docs $(ARGS)

test-lab: setup ## the lab itself
	python -m pytest tests/lab $(ARGS)

docker := $(patsubst %,tests/kernel/test_%.py,seed modes engines containers service)

test-kernel: setup ## the modules on a real kernel, in the lab
	tests/lab/run python -m pytest tests/kernel $(docker:%=--ignore=%) $(ARGS)
	LAB_DRIVERS='macvlan veth' tests/lab/run python -m pytest tests/kernel/test_optimistic.py # what the guest's kernel lacks

test-docker: setup ## the same: every example of Docker's documentation, every mode, and real containers
	tests/lab/run python -m pytest $(docker) $(ARGS)

test-reboot: setup ## the host after real reboots, and its parents gone and back, in guests one after the other
	tests/reboot/run $(ARGS)

soak: setup ## 2,000 rounds of attach, detach, change, kill and reboot on 50 networks and 200 endpoints; about half an hour
	SOAK_ROUNDS=2000 tests/lab/run python -m pytest tests/kernel/test_soak.py $(ARGS)

test-ends: setup ## hosts at both ends of what is supported: oldest Python and pyroute2, newest Python and pyroute2
	python tests/matrix/matrix.py ends

test-matrix: setup build ## all that is supported, each Python, pyroute2 and ansible-core; writes README.md's table; 20 minutes
	python tests/matrix/matrix.py all

test-role: setup ## the role, through molecule, in the lab
	tests/lab/run molecule test $(ARGS)

test-hosts: setup ## the role on several hosts by SSH, with one address plan, through molecule, in the lab
	tests/lab/run molecule test --scenario-name hosts $(ARGS)

test-installed: setup build ## the role from the built and installed collection, in the lab
	tests/installed/run

test-first-hour: setup build ## what a new user types on a fresh Debian 12, from README.md to two containers on a VLAN; minutes
	tests/first_hour/run

faults: setup ## every error at every call, where make test tries one at each; about 10 minutes
	tests/lab/run env EVERY_FAULT=1 python -m pytest tests/kernel/test_refused.py $(ARGS)

bench: ## both benchmarks below, against their bounds (BENCH_QUICK=1: to try them)
	@$(MAKE) --no-print-directory --keep-going --jobs=1 bench-ipam bench-endpoints

bench-ipam: setup ## the IPAM against its bounds, beside CNI host-local, on this machine's own kernel
	PYTHONPATH="$(ANSIBLE_COLLECTIONS_PATH)" python tests/bench/ipam.py

bench-endpoints: setup ## endpoints against their bounds, beside the kernel's floor, ip -batch, CNI and others
	PYTHONPATH="$(ANSIBLE_COLLECTIONS_PATH)" python tests/bench/endpoints.py

bench-trunk: setup ## the trunk check of 250 networks at once, against its bound, and of 250 VLANs in the lab; a minute or two
	PYTHONPATH="$(ANSIBLE_COLLECTIONS_PATH)" python tests/bench/trunk.py

build: setup ## the collection's tarball, in .work/dist
	ansible-galaxy collection build --force --output-path .work/dist

release: setup ## a version is built, checked and tagged, not uploaded: make release VERSION=1.0.0
	.ci/release "$(VERSION)"

lab: setup ## a shell in the lab; what it writes outside this repository is gone when it ends
	@LAB_SHARE="$(CURDIR)" tests/lab/run

setup:
	@tests/setup

clean: ## remove all that was installed, built or cached here
	rm -rf .work .ansible .pytest_cache .ruff_cache .hypothesis tests/output
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
