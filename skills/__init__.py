"""Unsupervised skill discovery: objectives, learners and Acme agents."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
  from skills import loading

__version__ = '0.1.0'


def load(run_dir: str | os.PathLike[str]) -> loading.TrainedSkills:
  """Loads the skills of a run; see `skills.loading.load`."""
  # Not above: a program that needs one part of this package waits for no other.
  from skills import loading

  return loading.load(run_dir)
