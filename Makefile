# `make demo` shows Fletching at work, `make test` runs all tests.
#
# Run it as root or with sudo: the demo and the tests start a private Postfix, whose master requires root.

PYTHON ?= python3
SUDO := $(if $(filter 0,$(shell id -u)),,sudo)
VENV := .venv

RUN_PACKAGES := python3-venv python3-dev gcc libc6-dev libmilter-dev postfix postfix-pcre redis-server
DEB_PACKAGES := build-essential python3-venv python3-dev libmilter-dev debhelper dh-apparmor git
DEMO_PACKAGES := $(RUN_PACKAGES) opendkim opendkim-tools
BENCH_PACKAGES := $(RUN_PACKAGES) opendkim dkimpy-milter redis-tools wrk nginx-light iproute2
TEST_PACKAGES := $(sort $(DEMO_PACKAGES) $(BENCH_PACKAGES) $(DEB_PACKAGES)) miltertest dovecot-core dovecot-imapd systemd chromium \
	debootstrap systemd-container dnsmasq-base util-linux \
	apparmor bash-completion buildah curl lintian logrotate man-db mandoc prometheus strace \
	amavisd-new rspamd postgresql mariadb-server tinyproxy-bin caddy openssl libpython3.11-testsuite $(if $(shell command -v npm),,npm)

.DEFAULT_GOAL := help

.PHONY: help
help: ## Show this list
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: demo-packages setup ## Send a campaign through a private Postfix and show the results
	$(SUDO) env KEEP="$(KEEP)" $(VENV)/bin/python -m demo

.PHONY: test
test: test-packages setup lint ## The whole test suite, real Postfix, Redis and verifiers included
	$(SUDO) $(PYTEST_HERE) $(call IN_PARALLEL,3) $(PYTEST)

.PHONY: quick
quick: test-packages setup ## The tests to run while you work: those that are not marked as slow
	$(SUDO) $(PYTEST_HERE) $(call IN_PARALLEL,2) -m "not slow" $(PYTEST)

# Compiled files are kept, whatever the environment says: otherwise each test process and each daemon
# compiles everything again.
PYTEST_HERE = env PYTHONDONTWRITEBYTECODE= $(VENV)/bin/python -m pytest -p no:cacheprovider -q
# A process that has nothing left to do takes tests from the others. Many tests wait for a daemon, so
# there are more processes than processors; most of all where the slow tests are among them.
IN_PARALLEL = --dist worksteal -n $(shell expr $(1) '*' $$(nproc))

.PHONY: lint
lint: setup
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy --strict

.PHONY: bench
bench: bench-packages setup ## Compare the speed with OpenDKIM and dkimpy-milter: tables, and JSON and charts in build/
	$(SUDO) $(VENV)/bin/python -m bench $(BENCH)

.PHONY: drills
drills: bench-packages setup ## Kill, fail over, hang and partition Redis under load: a table of what is lost
	$(SUDO) $(VENV)/bin/python -m bench.drills $(DRILLS)

.PHONY: soak
soak: bench-packages setup ## Load with faults for SOAK=30m: what is lost, doubled or leaked, and a chart in build/
	$(SUDO) $(VENV)/bin/python -m bench.soak --for $(SOAK)
SOAK ?= 30m

.PHONY: docs
docs: setup ## Generate the pages of docs/ about options, dialects, lint and metrics
	$(VENV)/bin/python -m fletching.config.reference > docs/configuration.md
	$(VENV)/bin/python -c "from fletching.policy.dialects import reference; print(reference.page(), end='')" > docs/dialects.md
	$(VENV)/bin/python -m fletching.admin.lint_reference > docs/lint.md
	$(VENV)/bin/python -m fletching.metrics.reference docs/metrics.md
	$(VENV)/bin/python -m monitoring > deploy/monitoring/fletching-board.json

.PHONY: deb
deb: ## Build the Debian package build/fletching_VERSION_ARCH.deb
	@.ci/packages $(DEB_PACKAGES)
	packaging/build-deb

.PHONY: man
man: setup ## Make the manual pages in build/man
	$(VENV)/bin/python -m fletching.manual build/man

.PHONY: mutate
mutate: setup ## Change modules in small ways and list the changes that no test notices
	$(VENV)/bin/python -m mutate $(MUTATE)

.PHONY: networks
networks: setup ## Download the networks of Google's and Apple's proxies to returning/networks.txt
	$(VENV)/bin/python -m networks

.PHONY: lock
lock: setup ## Update all libraries in the lock files
	$(VENV)/bin/python -m pip install --quiet pip-tools
	$(VENV)/bin/pip-compile $(LOCKED) -o requirements.lock pyproject.toml
	$(VENV)/bin/pip-compile $(LOCKED) --extra dev -o requirements-dev.lock pyproject.toml
LOCKED := --quiet --upgrade --generate-hashes --strip-extras --allow-unsafe --no-header \
	--no-emit-index-url --no-emit-find-links

.PHONY: setup
setup: $(VENV)/.ready ## Create .venv with the locked versions of all libraries

$(VENV)/.ready: requirements-dev.lock pyproject.toml
	@.ci/packages $(RUN_PACKAGES)
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --require-hashes --requirement requirements-dev.lock
	$(VENV)/bin/python -m pip install --quiet --no-deps --editable .
	@touch $@

.PHONY: demo-packages
demo-packages:
	@.ci/packages $(DEMO_PACKAGES)

.PHONY: bench-packages
bench-packages:
	@.ci/packages $(BENCH_PACKAGES)

.PHONY: test-packages
test-packages:
	@.ci/packages $(TEST_PACKAGES)
