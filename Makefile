# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
# Needs Python 3.11, a C++ compiler and PyPI; the first call sets everything up in .venv.
#
#   make demo     make a two-city data set, train three models on it, judge them, write the report
#   make test     lint, types, docstrings, tests, on the CPU
#   make test-gpu the few tests that need a CUDA device
#   make setup    only the set-up
#
# CUDA: make setup TORCH_SPEC="torch==2.13.0 --extra-index-url <your CUDA wheel index>"
# (beside PyPI, which has what torch needs in the versions of constraints.txt; pip takes 2.13.0+cuXXX before 2.13.0)

PYTHON ?= python3.11
TORCH_SPEC ?= torch==2.13.0
DEMO_FLAGS ?=

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install -q -c requirements/constraints.txt
# mmcv's CPU operators, also where there is a GPU: mmdet3d imports them, our model needs none. MMCV_CUDA=1 builds those
# for CUDA too (needs nvcc), which e.g. Mask R-CNN takes.
MMCV_CUDA ?= 0
MMCV := MMCV_WITH_OPS=1 FORCE_CUDA=$(MMCV_CUDA) $(PIP) --no-build-isolation mmcv==2.1.0
ifeq ($(MMCV_CUDA),0)
MMCV := CUDA_VISIBLE_DEVICES= $(MMCV)
endif

.PHONY: setup demo test test-gpu lint clean always
.DELETE_ON_ERROR:

demo: $(VENV)/ready
	$(BIN)/python tools/demo.py $(DEMO_FLAGS)

test: lint
	$(BIN)/python -m pytest

test-gpu: $(VENV)/ready
	NEXUSFLOW_TEST_GPU=1 $(BIN)/python -m pytest -m gpu

lint: $(VENV)/ready
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/interrogate projects tools

setup: $(VENV)/ready

clean:
	rm -rf $(VENV) build projects/*.egg-info

# Each step leaves a file, so that an interrupted set-up goes on where it stopped.
# Another torch or mmcv than the last call asked for is installed.
$(VENV)/asked: always
	@mkdir -p $(VENV)
	@echo '$(TORCH_SPEC) $(MMCV_CUDA)' | cmp -s - $@ || echo '$(TORCH_SPEC) $(MMCV_CUDA)' > $@

$(VENV)/torch: requirements/build.txt $(VENV)/asked
	$(PYTHON) -m venv $(VENV)
	@echo "[1/3] $(TORCH_SPEC)"
	$(PIP) -r requirements/build.txt
	$(PIP) $(TORCH_SPEC)
	touch $@

$(VENV)/mmcv: $(VENV)/torch
	@echo "[2/3] mmcv: built from source once, about 6 minutes on 2 cores"
	$(MMCV)
	@$(BIN)/python -c 'import torch, mmcv._ext' || { \
		echo "the cached build of mmcv is for another torch; building it again"; \
		$(MMCV) --no-cache-dir --force-reinstall --no-deps; \
		$(BIN)/python -c 'import torch, mmcv._ext'; }
	touch $@

$(VENV)/ready: $(VENV)/mmcv requirements/runtime.txt requirements/dev.txt requirements/constraints.txt setup.py
	@echo "[3/3] OpenMMLab, the judges, SUMO, nexusflow"
	$(PIP) -r requirements/runtime.txt -r requirements/dev.txt
	$(PIP) --no-deps --no-build-isolation -e .
	touch $@
