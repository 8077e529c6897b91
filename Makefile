# Two commands do everything on a machine with Python 3.11+, pip and make:
#   make demo   enlarges real medical images with the bundled model (installs what a device needs)
#   make test   lint, types and tests (installs PyTorch and the other development tools)
# make test-oracles judges DICOM results with other people's programs; it names those that are not there.
# make test-arm runs the runtime on an emulated Arm processor; FORM=short takes a few minutes of it.

PYTHON ?= python3
DEV := .venv
DEVICE := .venv-device
PIP_INSTALL := -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo test test-oracles test-arm lint format bench pictures clean

demo: $(DEVICE)/installed
	$(DEVICE)/bin/lightsr-infer --demo demo --force

test: lint
	$(DEV)/bin/python -m pytest

test-oracles: $(DEV)/oracles
	$(DEV)/bin/python -m pytest -m oracle tests/oracles

test-arm: $(DEV)/installed
	$(DEV)/bin/python -m tests.arm $(if $(FORM),--$(FORM))

lint: $(DEV)/installed
	$(DEV)/bin/ruff check .
	$(DEV)/bin/ruff format --check .
	$(DEV)/bin/mypy

format: $(DEV)/installed
	$(DEV)/bin/ruff check --fix .
	$(DEV)/bin/ruff format .

# The pages of results, from docs/results; the page itself names the commands that made these.
bench: $(DEV)/installed
	$(DEV)/bin/lightsr-bench compare docs/results/*.json \
	    --markdown docs/benchmarks.md --figure docs/benchmarks.png --force
	$(DEV)/bin/lightsr-bench tables docs/experiments.md $(wildcard docs/results/experiments/*.json)
	$(DEV)/bin/lightsr-bench tables docs/export.md $(wildcard docs/results/export/*.json)

# The pictures of docs/dicom.md, of pydicom's sample images.
pictures: demo
	cp demo/ct.png demo/mr.png demo/us.png docs/pictures/

clean:
	rm -rf $(DEV) $(DEVICE) build dist demo

RUNTIME := $(shell find runtime -type f -not -name '*.pyc' 2>/dev/null)

$(DEVICE)/installed: pyproject.toml constraints.txt $(RUNTIME)
	@echo "installing what a device needs into $(DEVICE)"
	$(PYTHON) -m venv $(DEVICE)
	$(DEVICE)/bin/python $(PIP_INSTALL) .
	@touch $@

$(DEV)/installed: pyproject.toml constraints.txt
	@echo "installing the development tools into $(DEV); PyTorch takes a while"
	$(PYTHON) -m venv $(DEV)
	$(DEV)/bin/python $(PIP_INSTALL) --editable '.[dev]'
	@touch $@

$(DEV)/oracles: $(DEV)/installed
	$(DEV)/bin/python $(PIP_INSTALL) --editable '.[oracles]'
	@touch $@
