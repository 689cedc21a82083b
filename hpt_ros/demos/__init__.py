"""Bags to aligned demonstrations."""
