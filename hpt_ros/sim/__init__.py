"""The simulated Panda."""
