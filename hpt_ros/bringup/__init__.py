"""Which processes run together, in which domain, and how they end."""
