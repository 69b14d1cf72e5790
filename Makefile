# The words: demo test faults soak model simulate fuzz check protos docs screens bench bundle lock clean. Each one sets up what it needs by itself.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PROTOS := $(sort $(wildcard protos/gausscert/v1/*.proto))
# Tests wait for processes more than they compute, so more workers than the two cores we promise to fit.
WORKERS ?= 4
# These start processes all the time; more workers would only make them wait for each other's.
FAULT_WORKERS ?= 3

# Where a bundle of software goes.
DIR ?= dist/bundle

# How many schedules, or FIRST-LAST; everything that can happen must happen within these.
SEEDS ?= 10000
SIMULATED = $(if $(SEED),--seed $(SEED) $(if $(MUTANT),--mutant $(MUTANT)),$(if $(MUTANTS),--mutants $(MUTANTS),--seeds $(SEEDS)))

SECONDS ?= 60

# The tests start thousands of interpreters; each would compile all that it imports, were nothing kept.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test faults soak virtual model simulate fuzz check fmt protos check-protos docs check-docs screens bench bench-node bench-abuse bundle lock clean

## demo: three simulated nodes on loopback, a replacement, a failure and its rollback
demo: $(VENV)/.runtime
	$(BIN)/gausscert demo $(ARGS)

## test: every test but the many faults and the soaks
test: $(VENV)/.development
	$(BIN)/pytest -n $(WORKERS) --dist loadgroup $(ARGS)

## faults: real agents and coordinators killed, paused and cut off, and second cases that take long; some twelve minutes on two cores
faults: $(VENV)/.development
	$(BIN)/pytest -n $(FAULT_WORKERS) -m faults $(ARGS)

## soak: the tests that take long
soak: $(VENV)/.development
	$(BIN)/pytest -n $(WORKERS) --dist loadgroup -m soak $(ARGS)

## virtual: under a real systemd, in containers, on another processor: needs root, qemu-system-x86, qemu-user-static, debootstrap, a network
virtual: $(VENV)/.development
	GAUSSCERT_TESTS_ON_DISK=1 $(BIN)/pytest -n0 -m virtual tests/virtual $(ARGS)

## model: every state of the transaction with two coordinators, and every broken variant (ARGS=--help)
model: $(VENV)/.runtime
	PYTHONPATH=tests $(BIN)/python -m explorer $(ARGS)

## simulate: 10,000 schedules of engine and agents on a fake clock; SEEDS=FIRST-LAST, SEED=N (one, in full), MUTANTS=all
simulate: $(VENV)/.development
	PYTHONPATH=tests $(BIN)/python -m simulation $(SIMULATED) $(ARGS)

## fuzz: what reads foreign bytes, under atheris; SECONDS for all together, ARGS="--only wire"
fuzz: $(VENV)/.fuzz
	PYTHONPATH=tests $(BIN)/python -m fuzz --seconds $(SECONDS) $(ARGS)

## check: style, types, import contracts, generated files
check: $(VENV)/.development check-protos check-docs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy bench
	$(BIN)/mypy examples/python
	MYPYPATH=tests $(BIN)/mypy -p simulation
	$(BIN)/lint-imports

## fmt: what check can mend by itself
fmt: $(VENV)/.development
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

## protos: the stubs beside the .proto files
protos: $(VENV)/.protos
	$(BIN)/python protos/generate.py protos

check-protos: $(VENV)/.protos
	$(BIN)/python protos/generate.py --check protos

## docs: the pages that are generated from the code
docs: $(VENV)/.runtime
	$(BIN)/python docs/generate.py

## screens: the screens in the pages, taken from real runs on a simulated cluster, one minute
screens: $(VENV)/.runtime
	$(BIN)/python docs/screens.py

check-docs: $(VENV)/.runtime
	$(BIN)/python docs/generate.py --check

## bench: every benchmark there is; ARGS="--rounds 5" for a shorter one
bench: bench-node bench-abuse

## bench-node: what one node costs, against its bare parts; fails when a goal is missed
bench-node: $(VENV)/.runtime
	$(BIN)/python -m bench.node $(ARGS)

## bundle: the software for nodes without a network, in DIR; needs one itself. ARGS="--machine aarch64 --python 3.11" for less
bundle: $(VENV)/.python
	$(BIN)/python deploy/bundle/build.py "$(DIR)" $(ARGS)

## lock: newer versions for the bundle, and their hashes
lock: $(VENV)/.python
	$(BIN)/python deploy/bundle/lock.py

## bench-abuse: status beside silent sockets, pings, bombs and a thousand calls, against a quiet one
bench-abuse: $(VENV)/.runtime
	$(BIN)/python -m bench.abuse $(ARGS)

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

$(VENV)/.python:
	@$(PYTHON) -c 'import sys; sys.exit("gausscert needs Python 3.11 or newer: make PYTHON=python3.11 ..." if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	@touch $@

$(VENV)/.runtime: pyproject.toml $(VENV)/.python
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(VENV)/.development: pyproject.toml $(VENV)/.runtime
	$(BIN)/python -m pip install --quiet --group test --group check
	@touch $@

$(VENV)/.fuzz: pyproject.toml $(VENV)/.development
	$(BIN)/python -m pip install --quiet --group fuzz
	@touch $@

# The generator pins an old grpcio-tools, whose protobuf must not meet the one the project runs on.
$(VENV)/.protos: pyproject.toml $(VENV)/.python
	$(PYTHON) -m venv $(VENV)/protos
	$(VENV)/protos/bin/python -m pip install --quiet --upgrade "pip>=25.1"
	$(VENV)/protos/bin/python -m pip install --quiet --group protos
	@touch $@
