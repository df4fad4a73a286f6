"""Experiments, and the files of their runs."""
