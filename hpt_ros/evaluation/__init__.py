"""Trials, scores and reports."""
