"""Acme agents; the only package that imports Acme and Reverb.

A package's `__init__` runs before its modules, hence Acme is patched before any
module below imports it.
"""

from skills.agents import _compat

_compat.install()
