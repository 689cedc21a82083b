# Two commands do it all on a machine without ROS: `make demo` and `make test`.
PYTHON ?= $(shell command -v python3 || command -v python3.12 || command -v python3.11 || command -v python3.10)
BIN := .venv/bin

.PHONY: help setup setup-demo demo quick test lint docs clean
.DEFAULT_GOAL := help

help:
	@echo "make demo    set up .venv if needed, then the whole walk on the simulated Panda (about 15 minutes)"
	@echo "make test    set up .venv if needed, then the tests"
	@echo "make setup   set up .venv only"
	@echo "make quick   the walk with few demonstrations and training steps (about a minute)"
	@echo "make lint    ruff and mypy"
	@echo "make docs    the reference pages of docs/ from the source"
	@echo "make clean   remove what the walk made (out/); .venv stays"

setup:
	@test -n "$(PYTHON)" || { echo "setup: no python3 found -> sudo apt-get install -y python3 python3-venv python3-dev" >&2; exit 2; }
	@"$(PYTHON)" tools/setup_env.py $(SETUP)

# without the messages of a Franka's controllers, which only the stand-in of the robot and the tests need
setup-demo: SETUP := --demo
setup-demo: setup

demo: setup-demo
	@$(BIN)/hpt-ros demo --out out/demo

quick: setup-demo
	@$(BIN)/hpt-ros demo --quick --out out/quick --json -

test: setup
	@$(BIN)/python -m pytest -m "not live" -n auto --dist loadfile; pure=$$?; $(BIN)/python -m pytest -m live --durations=25 && exit $$pure

lint: setup
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

docs: setup
	@$(BIN)/python tools/reference_docs.py

clean:
	rm -rf out
