"""Haiku modules and the pure functions they become."""
