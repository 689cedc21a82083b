"""Bags and live topics to one observation at a tick."""
