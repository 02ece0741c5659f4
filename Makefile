# The few commands that a desk and CI share. Everything lives in $(VENV); nothing is installed on the machine.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Libraries that thread on their own fight the replicas for the cores.
export OMP_NUM_THREADS ?= 1

.PHONY: demo live-demo serve test lint types unit fuzz ledger chaos bench lock clean

demo: $(VENV)/.run.stamp ## Dub a short English video into Portuguese, with everything it takes
	$(BIN)/octavia dub tests/data/video/muxed_en.mkv --to pt --output demo-output

live-demo: $(VENV)/.run.stamp ## Speak an English talk into a live session by WHIP; keep the Portuguese dub that WHEP brings
	$(BIN)/octavia live tests/data/video/muxed_en.mkv --from en --to pt --output live-demo-output

serve: $(VENV)/.run.stamp ## Bring the whole server up on this machine
	$(BIN)/octavia serve

# In the order of the folders: the stacks come first, and all else runs beside them.
test: lint types ## All checks and all tests, against real parts
	$(BIN)/pytest -n auto --no-loadscope-reorder --durations 25

lint: $(VENV)/.dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev.stamp
	$(BIN)/mypy

unit: $(VENV)/.dev.stamp ## The fast tests alone: no services, no models, no Ray
	$(BIN)/pytest -n auto -m "not (services or ray or model or coqui or acceptance)"

fuzz: $(VENV)/.dev.stamp ## Thousands of generated requests to every operation of the API
	$(BIN)/pytest tests/api/test_schema.py --hypothesis-profile=thorough -s

ledger: $(VENV)/.dev.stamp ## 10,000 operations on the ledger beside a model of it, several at once
	LEDGER_STEPS=10000 $(BIN)/pytest -s tests/billing/test_ledger_states.py

SEEDS ?= 20
chaos: $(VENV)/.dev.stamp ## Everything that can go wrong with a server, at random moments, and an audit after each round
	$(BIN)/python -m tests.chaos.run --seeds $(SEEDS)

bench: $(VENV)/.dev.stamp ## The table of the README, from one run
	$(BIN)/python -m benchmarks.run

$(VENV)/.run.stamp: locks/run.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r locks/run.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

# Coqui's torchaudio and torchcodec are installed without their dependencies: their wheels link against CUDA,
# and only their Python code is used on a machine without it.
$(VENV)/.dev.stamp: $(VENV)/.run.stamp locks/dev.txt locks/coqui.txt locks/coqui-nodeps.txt tests/javascript/package-lock.json
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r locks/dev.txt
	$(BIN)/pip install --quiet --disable-pip-version-check -r locks/coqui.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps -r locks/coqui-nodeps.txt
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/npm ci --prefix tests/javascript --ignore-scripts --silent
	touch $@

lock: ## Resolve exact versions anew, for Python 3.11 to 3.13
	$(PYTHON) -m venv .venv-lock && .venv-lock/bin/pip install --quiet uv
	.venv-lock/bin/uv pip compile pyproject.toml --extra embedded --extra build --universal --python-version 3.11 \
	  --generate-hashes --no-header --no-annotate --quiet -o locks/run.txt
	.venv-lock/bin/uv pip compile pyproject.toml --extra embedded --extra build --extra dev --universal \
	  --python-version 3.11 --generate-hashes --no-header --no-annotate --quiet -c locks/run.txt -o locks/dev.txt
	rm -rf .venv-lock

clean:
	rm -rf $(VENV) demo-output live-demo-output
