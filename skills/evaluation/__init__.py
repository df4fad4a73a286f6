"""Numbers and pictures that say what was learned."""
