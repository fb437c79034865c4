# Each target sets up what it needs, in .venv; `make run` and `make test` are all a newcomer needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DATA ?= ../shared/data
# A process a core, with one thread and up to 2 GB each; a module's tests stay together.
PYTEST := OMP_NUM_THREADS=1 MOODMIRROR_DATA=$(DATA) $(BIN)/python -m pytest \
	-n logical --maxprocesses 4
# The C library hands the memory of each batch back to the system; keeping it makes a training on
# the encoder's vectors 1.6 times as fast.
KEEP_MEMORY := MALLOC_ARENA_MAX=1 MALLOC_MMAP_THRESHOLD_=33554432 \
	MALLOC_TRIM_THRESHOLD_=2147483648 MALLOC_TOP_PAD_=134217728

.PHONY: run test test-all bench load stream-bench score-bench archive-bench adaptation-bench speech-bench fuzz lint audit format train evaluate report \
        release docs pictures examples clean

run: $(VENV)/.serve  ## Serve the page on http://127.0.0.1:7860
	$(BIN)/python app.py

test: $(VENV)/.dev  ## Run the tests
	$(PYTEST)

test-all: $(VENV)/.dev  ## Run the tests, those that take minutes too
	$(PYTEST) -m "slow or not slow"

bench: $(VENV)/.dev  ## Measure speed and memory, and write docs/bench.md
	$(BIN)/python -m benchmarks.speed

load: $(VENV)/.dev  ## Send fifty visitors to a running app for five minutes
	$(BIN)/python -m benchmarks.load

stream-bench: $(VENV)/.dev  ## Send 32 live streams to a running app, by its API and its page
	$(BIN)/python -m benchmarks.streams

score-bench: $(VENV)/.dev  ## Measure how whole archives are scored, and write docs/scale.md
	$(BIN)/python -m benchmarks.scoring

archive-bench: $(VENV)/.dev  ## Score 20 hours of joined recordings of the corpora, and add to docs/scale.md
	$(BIN)/python -m benchmarks.archive --data $(DATA)

adaptation-bench: $(VENV)/.dev  ## Measure what few recordings of an unseen corpus bring, and write docs/adaptation.md
	$(KEEP_MEMORY) $(BIN)/python -m benchmarks.adaptation --data $(DATA)

speech-bench: $(VENV)/.dev  ## Measure what is refused as no speech, and write docs/speech.md
	$(BIN)/python -m benchmarks.speech --data $(DATA)

fuzz: $(VENV)/.dev  ## Send 100,000 mutated recordings and documents through what reads them
	$(BIN)/python -m benchmarks.fuzz

lint: $(VENV)/.dev  ## Check style, types and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

audit: $(VENV)/.dev  ## Look for published weaknesses of what is installed
	$(BIN)/pip-audit --skip-editable --progress-spinner off

format: $(VENV)/.dev  ## Bring the code into shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

train: $(VENV)/.dev  ## Train the bundled models again
	$(KEEP_MEMORY) $(BIN)/python -m ser_core train compact --data $(DATA) --out model/compact --seeds 1
	$(KEEP_MEMORY) $(BIN)/python -m ser_core train accurate --data $(DATA) --out model/accurate --seeds 1

evaluate: $(VENV)/.dev  ## Repeat the figures of the model cards
	$(BIN)/python -m ser_core evaluate test --model compact --data $(DATA)
	$(BIN)/python -m ser_core evaluate test --model accurate --data $(DATA)

report: $(VENV)/.dev  ## Write docs/figures.md, docs/reproduction.md and their charts from the run records
	$(BIN)/python -m ser_core report

release: $(VENV)/.dev  ## Build wheel and sdist, try the wheel elsewhere, write the notes
	$(BIN)/python -m tools.release

docs: $(VENV)/.dev  ## Build docs/ into a small site in site/, and check its links
	$(BIN)/mkdocs build --strict
	$(BIN)/python -m tools.links site

pictures: $(VENV)/.dev  ## Take the README's pictures of the page (needs chromium)
	$(BIN)/python docs/pictures/take.py

examples: $(VENV)/.dev  ## Make the example clips again (needs espeak-ng)
	$(BIN)/python examples/make_examples.py

clean:  ## Remove what was made here
	rm -rf $(VENV) build dist site runs artifacts *.egg-info .mypy_cache .pytest_cache .ruff_cache

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.serve: requirements.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install -q -r requirements.txt
	touch $@

$(VENV)/.dev: requirements.txt pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install -q -e '.[dev]'
	touch $@ $(VENV)/.serve
