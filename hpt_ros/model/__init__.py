"""HPT: stems, trunk, heads, encoders, normaliser, checkpoints."""
