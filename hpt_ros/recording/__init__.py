"""Episodes as bags that are either complete or not there."""
