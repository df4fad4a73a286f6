"""Tests of skills/evaluation/adaptation.py."""

import numpy as np
import pytest

from skills.evaluation import adaptation

# Three policies in five episodes. In the first two, policy 1 is the luckiest;
# in the others it is the worst.
RETURNS = np.array(
  [
    [4.0, 4.0, 4.0, 4.0, 7.0],
    [9.0, 5.0, 1.0, 1.0, 1.0],
    [6.0, 6.0, 6.0, 6.0, 6.0],
  ]
)


class Table:
  """Plays from a table, and remembers what it was asked for."""

  def __init__(self, returns=RETURNS):
    self.returns = returns
    self.asked = []

  def __call__(self, policies, episodes):
    self.asked.append((list(policies), list(episodes)))
    return self.returns[np.ix_(list(policies), list(episodes))]


def test_reported_returns_are_of_other_episodes_than_those_that_chose():
  play = Table()
  adapted = adaptation.adapt(play, num_policies=3, shots=2, num_fresh=3)
  assert adapted.chosen == 1
  np.testing.assert_array_equal(adapted.trials, RETURNS[:, :2])
  # Its mean was 7 when it was chosen; what counts is that it is 1.
  np.testing.assert_array_equal(adapted.best, [1, 1, 1])
  np.testing.assert_array_equal(adapted.first, [4, 4, 7])
  assert play.asked == [([0, 1, 2], [0, 1]), ([1, 0], [2, 3, 4])]
  chose, told = (set(episodes) for _, episodes in play.asked)
  assert not chose & told


def test_policy_0_is_played_once_if_it_is_the_best():
  play = Table(RETURNS[[2, 0]])
  adapted = adaptation.adapt(play, num_policies=2, shots=1, num_fresh=2)
  assert adapted.chosen == 0
  assert play.asked[1] == ([0], [1, 2])
  np.testing.assert_array_equal(adapted.best, [6, 6])
  np.testing.assert_array_equal(adapted.first, [6, 6])


def test_the_best_of_equal_policies_is_worth_no_more_than_they_are():
  # Their returns are noise about 0. The largest of eight means of two is far
  # above 0; what is reported is not.
  rng = np.random.default_rng(0)
  trials, fresh = [], []
  for _ in range(300):
    play = Table(rng.normal(size=(8, 7)))
    adapted = adaptation.adapt(play, num_policies=8, shots=2, num_fresh=5)
    trials.append(adapted.trials[adapted.chosen].mean())
    fresh.append(adapted.best.mean())
  assert np.mean(trials) > 0.8
  # The standard error is 1 / sqrt(5 * 300) = 0.026.
  assert abs(np.mean(fresh)) < 0.1


@pytest.mark.parametrize('field', ['num_policies', 'shots', 'num_fresh'])
def test_nothing_to_play_is_refused(field):
  sizes = {'num_policies': 3, 'shots': 2, 'num_fresh': 2, field: 0}
  with pytest.raises(ValueError, match=f'{field} must be >= 1, got 0'):
    adaptation.adapt(Table(), **sizes)
