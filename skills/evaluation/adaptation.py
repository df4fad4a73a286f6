"""K-shot adaptation of a set of policies to a changed environment.

As in DOMiNO (Zahavy et al., 2022, arXiv:2205.13521): the environment changes
after training, every policy is tried for K episodes, and the best one is kept.
Nothing is learned.

The best of several noisy means is too high as an estimate of what it is worth,
and the more so the more policies there are. So the return that is reported is
of other episodes than those in which the policy was chosen.
"""

from collections.abc import Callable
from collections.abc import Sequence
from typing import NamedTuple

from jaxtyping import Float
import numpy as np

from skills.evaluation import metrics

Play = Callable[[Sequence[int], Sequence[int]], Float[np.ndarray, 'N M']]
"""Numbers of N policies, numbers of M episodes -> the return of each."""


class Adaptation(NamedTuple):
  """Returns of a set of policies in a changed environment.

  Attributes:
    trials: returns of every policy in the episodes that chose.
    chosen: the best one by their means.
    best: its returns in fresh episodes.
    first: those of policy 0 in the same ones.
  """

  trials: Float[np.ndarray, 'K shots']
  chosen: int
  best: Float[np.ndarray, 'M']
  first: Float[np.ndarray, 'M']


def adapt(
  play: Play, num_policies: int, shots: int, num_fresh: int
) -> Adaptation:
  """Tries every policy, keeps the best, and estimates its return.

  Args:
    play: plays policies in episodes of the changed environment, which begin
      alike for all policies. Episodes 0..shots-1 choose; the `num_fresh` after
      them tell.
    num_policies: number of policies K.
    shots: episodes in which each is tried.
    num_fresh: episodes M that are reported.

  Raises:
    ValueError: if one of the numbers is below 1.
  """
  for name, number in (
    ('num_policies', num_policies),
    ('shots', shots),
    ('num_fresh', num_fresh),
  ):
    if number < 1:
      raise ValueError(f'{name} must be >= 1, got {number}.')
  trials = np.asarray(play(range(num_policies), range(shots)))
  chosen = metrics.k_shot_choice(trials)
  # Policy 0 need not be played twice.
  wanted = list(dict.fromkeys((chosen, 0)))
  fresh = np.asarray(play(wanted, range(shots, shots + num_fresh)))
  return Adaptation(trials, chosen, fresh[0], fresh[-1])
