"""The `hpt-ros` command."""
