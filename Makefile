# Two commands do everything on a machine with Python 3.11+, pip and make:
#   make demo   enlarges real medical images with the bundled model (installs what a device needs)
#   make test   lint, types and tests (installs PyTorch and the other development tools)
# make test-fast runs the tests that take moments, for each change on the way.
# make test-oracles judges DICOM results with other people's programs; it names those that are not there.
# make release-check builds and installs what would be uploaded.
# make coverage says which branches the tests take, make mutation whether they notice lines that are broken.
# make fuzz feeds every reader for FUZZ_SECONDS (60) with what it learns to be interesting; what it finds is in build/fuzz.
# make test-arm runs the runtime on an emulated Arm processor; FORM=short takes a few minutes of it.

PYTHON ?= python3
DEV := .venv
DEVICE := .venv-device
DOCS := .venv-docs
PIP_INSTALL := -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
# As many tests at once as there are CPUs, or as PYTEST_XDIST_AUTO_NUM_WORKERS says; who has nothing left takes from others.
IN_PARALLEL := --numprocesses auto --dist worksteal

.PHONY: demo test style types tests test-fast test-slow test-oracles test-arm release-check coverage mutation fuzz lint format docs bench pictures clean

demo: $(DEVICE)/installed
	$(DEVICE)/bin/lightsr-infer --demo demo --force

# mypy, which uses one processor for half a minute where it has no cache yet, runs beside the tests.
test: style
	@$(MAKE) --no-print-directory --jobs 2 types tests

tests: $(DEV)/installed
	$(DEV)/bin/python -m pytest $(IN_PARALLEL)

test-fast: $(DEV)/installed
	$(DEV)/bin/python -m pytest $(IN_PARALLEL) -p tests.fast

# Pictures larger than memory: twenty minutes of a processor, 8 GiB of disk for a while; and times, so nothing else may run.
test-slow: $(DEV)/installed
	$(DEV)/bin/python -m pytest -m slow

test-oracles: $(DEV)/oracles
	$(DEV)/bin/python -m pytest -m oracle tests/oracles

coverage: $(DEV)/installed
	$(DEV)/bin/python -m tests.coverage $(IN_PARALLEL)

mutation: $(DEV)/installed
	$(DEV)/bin/python -m tests.mutation

fuzz: $(DEV)/fuzz
	$(DEV)/bin/python -m tests.fuzz.readers

test-arm: $(DEV)/installed
	$(DEV)/bin/python -m tests.arm $(if $(FORM),--$(FORM))

# Wheel and source distribution: what is in them, and the wheel alone in an environment of its own. It needs the package index.
release-check: $(DEV)/installed
	$(DEV)/bin/python -m pytest -m release tests/test_release.py

lint: style types

style: $(DEV)/installed
	$(DEV)/bin/ruff check .
	$(DEV)/bin/ruff format --check .

types: $(DEV)/installed
	$(DEV)/bin/mypy
	$(DEV)/bin/lint-imports --no-logo

format: $(DEV)/installed
	$(DEV)/bin/ruff check --fix .
	$(DEV)/bin/ruff format .

# The site, in site/; any page that does not fit, be it by a broken link, ends it.
docs: $(DOCS)/installed
	NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/mkdocs build

# The pages of results, from docs/results; the page itself names the commands that made these.
bench: $(DEV)/installed
	$(DEV)/bin/lightsr-bench compare docs/results/*.json \
	    --markdown docs/benchmarks.md --figure docs/benchmarks.png --force
	$(DEV)/bin/lightsr-bench tables README.md $(wildcard docs/results/device-*.json docs/results/quality-*.json)
	$(DEV)/bin/lightsr-bench tables docs/experiments.md $(wildcard docs/results/experiments/*.json)
	$(DEV)/bin/lightsr-bench tables docs/export.md $(wildcard docs/results/export/*.json)

# The pictures of README and docs/dicom.md, of pydicom's sample images.
pictures: demo $(DEV)/installed
	cp demo/ct.png demo/mr.png demo/us.png docs/pictures/
	mkdir -p build/front
	cp $$($(DEV)/bin/python -c 'from pydicom.data import get_testdata_file as f; print(f("CT_small.dcm"))') build/front/
	$(DEV)/bin/lightsr-bench quality --data build/front runtime/lightsr/models/base-x2-int8.onnx --pictures build --force
	cp build/ct-worst.png docs/pictures/front.png

clean:
	rm -rf $(DEV) $(DEVICE) $(DOCS) build dist demo site

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

$(DOCS)/installed: pyproject.toml constraints.txt
	@echo "installing what makes the site into $(DOCS)"
	$(PYTHON) -m venv $(DOCS)
	$(DOCS)/bin/python $(PIP_INSTALL) --editable '.[docs]'
	@touch $@

$(DEV)/oracles: $(DEV)/installed
	$(DEV)/bin/python $(PIP_INSTALL) --editable '.[oracles]'
	@touch $@

$(DEV)/fuzz: $(DEV)/installed
	@$(DEV)/bin/python $(PIP_INSTALL) --only-binary atheris --editable '.[fuzz]' >$(DEV)/fuzz.log 2>&1 || { \
	    echo "make fuzz needs atheris, which has wheels for Linux on x86-64 and Python 3.11 to 3.13 alone;" \
	    "why it cannot be installed here is in $(DEV)/fuzz.log"; exit 1; }
	@touch $@
