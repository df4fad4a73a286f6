"""Rollouts, figures and pages of runs."""
