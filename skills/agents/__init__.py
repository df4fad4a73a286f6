"""Acme agents; the only package that imports Acme and Reverb.

A package's `__init__` runs before its modules, hence no module below can meet
an Acme that has not been made to work.
"""

from skills.agents import _compat

_compat.install()
