"""Experiments that take hours; each is a package of its own: `python -m experiments.NAME`."""
