"""Unsupervised skill discovery: objectives, learners and Acme agents."""

__version__ = '0.1.0'
