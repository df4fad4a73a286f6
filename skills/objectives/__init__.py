"""Intrinsic rewards, one paper a module."""
