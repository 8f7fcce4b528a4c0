# Two commands do everything on a machine with Python 3.11+ and make:
#   make demo   runs the whole way on pictures that ship with the package
#   make test   runs the tests
# And one takes its time: make crash, 500 runs killed at random moments.
# Each makes .venv when it is missing; running again costs nothing.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready

.PHONY: demo test crash fuzz check site bench export-all results format clean

demo: $(READY)
	$(BIN)/depthwise demo

test: $(READY)
	$(BIN)/pytest -q -n auto --maxprocesses 4 --dist loadfile

crash: $(READY)
	$(BIN)/pytest -q -s -m 'crash or not crash' tests/crash

# 100,000 broken files: no crash, none over 2 s, no growing memory. The tests take 2,000 of them.
fuzz: $(READY)
	$(BIN)/python tests/fuzz.py --files 100000

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python scripts/make_docs.py --check
	$(BIN)/python scripts/make_pages.py --check
	$(BIN)/python scripts/make_ideas.py --check
	$(BIN)/python bench/results.py --verify
	$(BIN)/sphinx-build -q -W --keep-going docs build/site

site: $(READY)
	$(BIN)/sphinx-build -q -W --keep-going docs build/site
	@echo "Open build/site/index.html"

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/python scripts/make_docs.py
	$(BIN)/python scripts/make_pages.py
	$(BIN)/python scripts/make_ideas.py

# Five minutes or so. The tables of docs/performance.md come from the --full tier of the first three.
bench: $(READY)
	$(BIN)/python bench/train_step.py
	$(BIN)/python bench/memory.py
	$(BIN)/python bench/scaling.py
	$(BIN)/python bench/startup.py
	$(BIN)/python bench/predict.py
	$(BIN)/python scripts/make_docs.py

# Every network of the registry: an hour or more; goes on where it was stopped.
export-all: $(READY)
	$(BIN)/python bench/export_all.py
	$(BIN)/python scripts/make_docs.py

# One network of each family on Fashion-MNIST: four hours or so; goes on where it was stopped. Nothing else should run.
results: $(READY)
	$(BIN)/python bench/results.py
	$(BIN)/python bench/results.py --write
	$(BIN)/python scripts/make_docs.py

# The CPU build of torch first, from PyTorch's own index: PyPI's on Linux brings gigabytes of CUDA.
$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -c "import torch" 2>/dev/null || $(BIN)/pip install -q --no-deps --retries 1 --timeout 15 \
		-c constraints.txt --index-url https://download.pytorch.org/whl/cpu torch || true
	$(BIN)/pip install -q -c constraints.txt -e '.[all]'
	touch $(READY)

clean:
	rm -rf $(VENV) depthwise-demo build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
