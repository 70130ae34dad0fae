# Everything starts here. `make demo` and `make test` set up what they need on a fresh machine.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: demo test check golden docs bench soak oldest clean

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $(READY)

# The whole story on an embedded data set, in minutes.
demo: $(READY)
	$(BIN)/resmom demo

# Every test, a process per core, at most four.
test: $(READY)
	$(BIN)/python -m pytest -n logical --maxprocesses 4

# What must hold at every commit, in about a minute.
check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/mypy
	$(BIN)/python -m pytest -n logical --maxprocesses 4 -m 'not slow'

# Write the golden losses anew; review the difference, and say in the changelog why.
golden: $(READY)
	$(BIN)/python -m tests.methods.golden

# The documentation, into site/.
docs: $(READY)
	$(BIN)/mkdocs build --strict

# Speed as ratios, measured side by side, as far as nothing else has to be installed; see docs/results/speed/README.md.
bench: $(READY)
	$(BIN)/python -m benchmarks.step
	$(BIN)/python -m benchmarks.peers input --peers '' --rounds 6 --out build/speed

# Kill a run at many more random moments than the tests do.
soak: $(READY)
	RESMOM_KILLS=200 $(BIN)/python -m pytest tests/runs

# All tests with the oldest versions that pyproject.toml allows, in an environment of their own.
oldest:
	$(PYTHON) -m venv .venv-oldest
	.venv-oldest/bin/python -m pip install --quiet --disable-pip-version-check uv
	VIRTUAL_ENV=.venv-oldest .venv-oldest/bin/uv pip install --quiet --resolution lowest-direct --editable '.[dev]'
	.venv-oldest/bin/python -m pytest -n logical --maxprocesses 4

clean:
	rm -rf .venv .venv-oldest site build *.egg-info
