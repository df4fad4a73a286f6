"""Tests of launch/run_loggers.py."""

import pytest

from launch import run_loggers
from skills.objectives import domino


@pytest.mark.parametrize(
  ('rows', 'num_warnings'),
  [
    # Once, and not before the averages mean something.
    ([(999, 0.1), (1000, 1.9), (1001, 0.1)], 1),
    ([(999, 0.1), (2000, 2.1)], 0),
    ([(2000, None)], 0),
  ],
)
def test_policies_that_all_do_the_same_are_told_of_once(rows, num_warnings):
  warnings = []
  logger = run_loggers.CollapseWarning(warnings.append)
  for steps, apart in rows:
    row = {'learner_steps': steps}
    if apart is not None:
      row[domino.DISTANCE_OVER_NOISE] = apart
    logger.write(row)
  assert len(warnings) == num_warnings
  assert all('All policies do the same' in text for text in warnings)
