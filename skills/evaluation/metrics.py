"""How many skills there are, how much they tell, how far they reach, how good.

The one place for such numbers: evaluations while training, `launch.evaluate`,
`launch.reproduce` and figures all compute them here.

Skills are drawn uniformly, p(z) = 1/K. What a discriminator says of them is
measured in JAX and may stand inside a compiled evaluation; histograms of states
and skills are counted in NumPy, in double precision, after it.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array
from jaxtyping import Float
from jaxtyping import Int
from jaxtyping import Num
import numpy as np

from skills.ops import categorical
from skills.ops import neighbours

AnyArray = Array | np.ndarray


def skills_learned(
  log_q_of_skill: Float[AnyArray, '*batch'],
  num_skills: int,
  mask: Float[AnyArray, '*batch'] | None = None,
) -> Float[Array, '']:
  """Number of skills that the discriminator effectively tells apart.

      exp( E[ log qbar(z|o) + log K ] )

  From section 4 of DISDAIN (Strouse et al., 2021, arXiv:2107.14226) as its
  authors' code computes it: from rewards that are not clipped at 0, or chance
  would already count as learned.

  Args:
    log_q_of_skill: log-probability in nats that the discriminators' mean gives
      to the skill that was run, on fresh trajectories of uniform skills.
    num_skills: number of skills K.
    mask: 1 for what counts, 0 for the rest; None if everything does.

  Returns:
    A number of skills in (0, K]: 1 at chance, K if every skill is named without
    doubt. Chance too if the mask marks nothing.

  Raises:
    ValueError: if there is no skill.
  """
  if num_skills < 1:
    raise ValueError(f'num_skills must be >= 1, got {num_skills}.')
  reward = jnp.asarray(log_q_of_skill) + jnp.log(float(num_skills))
  return jnp.exp(_masked_mean(reward, mask))


def skills_learned_from_logits(
  logits: Float[AnyArray, 'N *batch K'],
  skill: Int[AnyArray, '*batch'],
  mask: Float[AnyArray, '*batch'] | None = None,
) -> Float[Array, '']:
  """As `skills_learned`, of an ensemble: exp(E[log qbar(z|o) + log K]).

  Args:
    logits: unnormalized log q_i(z|o) of each of the N members; their
      probabilities are averaged, qbar = mean_i q_i, not their logits.
    skill: the skill that was run.
    mask: 1 for what counts, 0 for the rest; None if everything does.

  Returns:
    A number of skills in (0, K]; 1 at chance.
  """
  return skills_learned(_log_q_of(logits, skill), logits.shape[-1], mask)


def information_bound(
  logits: Float[AnyArray, 'N *batch K'],
  skill: Int[AnyArray, '*batch'],
  mask: Float[AnyArray, '*batch'] | None = None,
) -> Float[Array, '']:
  """Lower bound on the information between skill and observation.

      E[ log2 qbar(z|o) - log2 p(z) ] <= I(Z; O)

  The bound of Barber and Agakov (2003), which is tight where qbar is the true
  posterior. It is the base-2 logarithm of `skills_learned`.

  Args:
    logits: unnormalized log q_i(z|o) of each of the N members.
    skill: the skill that was run.
    mask: 1 for what counts, 0 for the rest; None if everything does.

  Returns:
    Bits, at most log2 K: 0 at chance, below 0 where the discriminators are
    wrong and sure of it.
  """
  reward = _log_q_of(logits, skill) + jnp.log(float(logits.shape[-1]))
  return _masked_mean(reward, mask) / jnp.log(2.0)


class Discrimination(NamedTuple):
  """How well the discriminators tell each skill apart.

  Attributes:
    bits: E[ log2 qbar(z|o) - log2 p(z) | z ], what they know of skill z where
      it was run: at most log2 K, 0 at chance. Its mean over skills that were
      run equally often is `information_bound`.
    accuracy: how often the skill is the one that they hold for the most
      probable, in [0, 1]; 1/K at chance.
    confusion: `confusion_matrix` of the skill that they name.
  """

  bits: Float[np.ndarray, 'K']
  accuracy: Float[np.ndarray, 'K']
  confusion: Int[np.ndarray, 'K K']


def discrimination(
  logits: Float[AnyArray, 'N *batch K'],
  skill: Int[AnyArray, '*batch'],
  mask: Float[AnyArray, '*batch'],
) -> Discrimination:
  """The bound of Barber and Agakov (2003), and confusions, by skill.

  Args:
    logits: unnormalized log q_i(z|o) of each of the N members.
    skill: the skill that was run.
    mask: 1 for what counts, 0 for the rest.

  Returns:
    Numbers that are none (NaN) for skills of which nothing counts.
  """
  num_skills = logits.shape[-1]
  is_counted = np.asarray(mask) > 0
  log_qbar = categorical.log_mean(jax.nn.log_softmax(jnp.asarray(logits)))
  counted = np.asarray(skill)[is_counted]
  of_skill = np.asarray(_log_q_of(logits, skill), np.float64)[is_counted]
  confusion = confusion_matrix(
    np.asarray(log_qbar)[is_counted].argmax(axis=-1), counted, num_skills
  )
  sums = np.bincount(counted, of_skill, minlength=num_skills)
  with np.errstate(invalid='ignore'):  # 0 / 0 is no number, as it should be.
    mean = sums / confusion.sum(axis=1)
    accuracy = np.diag(confusion) / confusion.sum(axis=1)
  return Discrimination(
    (mean + np.log(num_skills)) / np.log(2.0), accuracy, confusion
  )


def coverage(
  states: Int[AnyArray, '*batch'],
  num_states: int,
  mask: Float[AnyArray, '*batch'] | None = None,
) -> Float[Array, '']:
  """Fraction of an environment's states that were visited.

      |{ s : s in states }| / S

  Args:
    states: indices of visited states, in any order and number.
    num_states: number of states S.
    mask: 1 for what counts, 0 for the rest; None if everything does.

  Returns:
    A fraction in [0, 1].

  Raises:
    ValueError: if an index is not in [0, S). Where this is being compiled that
      is not seen.
  """
  if not isinstance(states, jax.core.Tracer):
    _check_indices('states', states, num_states)
  states = jnp.asarray(states)
  visited = jnp.zeros(num_states)
  return jnp.mean(visited.at[states].max(1.0 if mask is None else mask))


def effective_states(counts: Num[AnyArray, 'S']) -> float:
  """Number of equally often visited states that would be as unpredictable.

      2^H,  H = -sum_s p(s) log2 p(s),  p(s) = counts[s] / sum(counts)

  The perplexity of the visits (Hill's number of order 1; Hill, 1973).

  Args:
    counts: how often each state was visited.

  Returns:
    A number of states in [1, S]: 1 if all visits went to one state, S if they
    were spread evenly.

  Raises:
    ValueError: if a count is negative or infinite, or all are 0.
  """
  return float(2.0 ** _entropy_bits(_probabilities(counts)))


def mutual_information(counts: Num[AnyArray, 'X Y']) -> float:
  """Information that two quantities have about each other, by counting.

      I(X; Y) = sum_xy p(x, y) log2( p(x, y) / (p(x) p(y)) )

  The plug-in estimate, which is too high by about (X-1)(Y-1) / (2 n ln 2) bits
  for n samples (Miller, 1955): count many times more often than there are
  cells that can occur.

  Args:
    counts: how often each pair occurred; see `joint_counts`.

  Returns:
    Bits in [0, log2 min(X, Y)].

  Raises:
    ValueError: if a count is negative or infinite, or all are 0.
  """
  p_xy = _probabilities(counts)
  marginals = _entropy_bits(p_xy.sum(axis=1)) + _entropy_bits(p_xy.sum(axis=0))
  # Rounding must not make it negative.
  return max(0.0, marginals - _entropy_bits(p_xy))


def joint_counts(
  x: Int[AnyArray, '*batch'],
  y: Int[AnyArray, '*batch'],
  num_x: int,
  num_y: int,
) -> Int[np.ndarray, 'num_x num_y']:
  """How often each pair of indices occurs.

      counts[i, j] = |{ n : x[n] = i and y[n] = j }|

  Args:
    x: indices in [0, num_x).
    y: the index in [0, num_y) that goes with each.
    num_x: number of values of x.
    num_y: number of values of y.

  Returns:
    Counts, at least 0, which sum to the size of the batch.

  Raises:
    ValueError: if an index is out of its range.
  """
  _check_indices('x', x, num_x)
  _check_indices('y', y, num_y)
  flat = np.asarray(x, np.int64).ravel() * num_y + np.asarray(y).ravel()
  counts = np.bincount(flat, minlength=num_x * num_y)
  return counts.reshape(num_x, num_y)


class SkillInformation(NamedTuple):
  """Information about the skill in its initial and final states, in bits.

  Attributes:
    final: I(Z; s_T), from the final state.
    pair: I(Z; (s_0, s_T)), from both.
    displacement: I(Z; x_T - x_0), from the difference of their positions.
  """

  final: float
  pair: float
  displacement: float

  @property
  def relative(self) -> float:
    """I(Z; s_0 | s_T) = I(Z; (s_0, s_T)) - I(Z; s_T)."""
    return self.pair - self.final


def skill_information(
  skill: Int[AnyArray, '*batch'],
  start: Int[AnyArray, '*batch'],
  end: Int[AnyArray, '*batch'],
  positions: Int[AnyArray, 'S D'],
) -> SkillInformation:
  """Information about z in s_0 and s_T, by counting (z, s_0, s_T).

  Plug-in estimates: see `mutual_information` for how far they are too high.

  Args:
    skill: that was run.
    start: state in which it began, in [0, S).
    end: state in which it ended.
    positions: of each state, such as row and column.

  Raises:
    ValueError: if a state is out of its range.
  """
  positions = np.asarray(positions)
  num_states = len(positions)
  _check_indices('start', start, num_states)
  _check_indices('end', end, num_states)
  skill, start, end = (
    np.asarray(index, np.int64).ravel() for index in (skill, start, end)
  )
  skill = _occurring(skill)

  def information(outcome: Int[np.ndarray, 'n']) -> float:
    # Only what occurs is counted: of S^2 pairs most do not.
    outcome = _occurring(outcome)
    sizes = (int(index.max(initial=-1)) + 1 for index in (skill, outcome))
    return mutual_information(joint_counts(skill, outcome, *sizes))

  moved = positions[end] - positions[start]
  _, displacement = np.unique(moved, axis=0, return_inverse=True)
  return SkillInformation(
    final=information(end),
    pair=information(start * num_states + end),
    displacement=information(displacement.ravel()),
  )


def auroc(
  positive: Float[AnyArray, 'n'], negative: Float[AnyArray, 'm']
) -> float:
  """Area under the ROC curve of a score.

  The probability that a random one of the first has a higher score than a
  random one of the second, where equal scores count one half: the area under
  the receiver operating characteristic.

  Args:
    positive: scores of what should score high.
    negative: scores of what should score low.

  Returns:
    A number in [0, 1]: 1 if all is told apart, 0.5 at chance.

  Raises:
    ValueError: if one of them is empty.
  """
  positive, negative = np.asarray(positive), np.asarray(negative)
  if not len(positive) or not len(negative):
    raise ValueError(
      f'there must be scores of both, got {len(positive)} and {len(negative)}.'
    )
  ordered = np.sort(negative)
  below = np.searchsorted(ordered, positive, 'left')
  up_to = np.searchsorted(ordered, positive, 'right')
  return float(np.mean(below + up_to) / (2 * len(negative)))


def _occurring(index: Int[np.ndarray, 'n']) -> Int[np.ndarray, 'n']:
  """Numbers what occurs from 0 on, without gaps."""
  return np.unique(index, return_inverse=True)[1].ravel()


def confusion_matrix(
  predicted: Int[AnyArray, '*batch'],
  skill: Int[AnyArray, '*batch'],
  num_skills: int,
) -> Int[np.ndarray, 'K K']:
  """Confusion matrix of skills.

      counts[z, k] = |{ n : skill[n] = z and predicted[n] = k }|

  Args:
    predicted: the skill that the discriminator names.
    skill: the skill that was run.
    num_skills: number of skills K.

  Returns:
    Counts: a row for each skill that was run, a column for each that was named,
    so that the diagonal holds what was named rightly.

  Raises:
    ValueError: if a skill is not in [0, K).
  """
  _check_indices('predicted', predicted, num_skills)
  _check_indices('skill', skill, num_skills)
  return joint_counts(skill, predicted, num_skills, num_skills)


def distance_matrix(
  features: Float[AnyArray, 'K D'],
) -> Float[np.ndarray, 'K K']:
  """Distances between policies.

      d_ij = || psi^i - psi^j ||_2

  Args:
    features: expected features psi of each policy, such as its occupancy of
      states.

  Returns:
    Distances >= 0, in the units of the features.
  """
  features = np.asarray(features, np.float64)
  return np.linalg.norm(features[:, None] - features[None], axis=-1)


def neighbour_distances(
  features: Float[AnyArray, 'K D'],
) -> Float[np.ndarray, 'K']:
  """Distance of each policy to its nearest neighbour.

      l_i = min_{j != i} || psi^i - psi^j ||_2

  Args:
    features: expected features psi of each policy, such as its occupancy of
      states.

  Returns:
    Distances >= 0, in the units of the features.

  Raises:
    ValueError: if there are fewer than two policies.
  """
  if len(features) < 2:
    raise ValueError(
      f'features must be of two policies or more, got {len(features)}.'
    )
  return np.asarray(neighbours.nearest(jnp.asarray(features)).distance)


def diversity_score(features: Float[AnyArray, 'K D']) -> float:
  """Mean distance of the policies to their nearest neighbours.

      (1 / K) sum_i min_{j != i} || psi^i - psi^j ||_2

  The quantity that DOMiNO's diversity is shown in (Zahavy et al., 2022,
  arXiv:2205.13521).

  Args:
    features: expected features psi of each policy.

  Returns:
    A distance >= 0, in the units of the features; 0 if each policy has one
    that does the same.

  Raises:
    ValueError: if there are fewer than two policies.
  """
  return float(np.mean(neighbour_distances(features)))


def value_ratios(values: Float[AnyArray, 'K']) -> Float[np.ndarray, 'K']:
  """Values of policies as a part of that of policy 0.

      v^i / v^0

  Args:
    values: mean returns, or mean rewards, of each policy; that of policy 0,
      which the task's reward alone trained, is above 0.

  Returns:
    Ratios, that of policy 0 being 1. A policy keeps the constraint of alpha if
    its ratio is at least alpha.

  Raises:
    ValueError: if policy 0 is worth nothing, or less.
  """
  values = np.asarray(values, np.float64)
  if not values[0] > 0:
    raise ValueError(
      f'the value of policy 0 must be positive to compare, got {values[0]}.'
    )
  return values / values[0]


def near_optimal_diversity(
  features: Float[AnyArray, 'K D'],
  values: Float[AnyArray, 'K'],
  alpha: float,
) -> float:
  """Diversity of the policies that are nearly as good as policy 0.

      diversity_score of { psi^i : v^i >= alpha v^0 }

  Diversity alone is cheap: policies that do nothing of what is asked can do it
  in many ways. DOMiNO (Zahavy et al., 2022, arXiv:2205.13521) asks for it under
  this constraint, and this counts only what keeps it.

  Args:
    features: expected features psi of each policy.
    values: mean returns, or mean rewards, of each; that of policy 0 is above 0.
    alpha: the least ratio that is good enough, in [0, 1].

  Returns:
    A distance >= 0, in the units of the features; 0 if fewer than two policies
    are good enough.

  Raises:
    ValueError: if policy 0 is worth nothing, or less, or alpha out of range.
  """
  if not 0 <= alpha <= 1:
    raise ValueError(f'alpha must be in [0, 1], got {alpha}.')
  is_good = value_ratios(values) >= alpha
  if is_good.sum() < 2:
    return 0.0
  return diversity_score(np.asarray(features)[is_good])


def k_shot_choice(trials: Float[AnyArray, 'K shots']) -> int:
  """The policy that K-shot adaptation keeps; the first of equal ones.

      argmax_k (1 / n) sum_{j < n} trials[k, j]

  DOMiNO's measure of what a set is good for (Zahavy et al., 2022,
  arXiv:2205.13521): after each policy was tried in n episodes of a changed
  environment the best one is kept. Its value is the mean return of the
  chosen one in other episodes (`mean_and_error`): its mean over the trials is
  too high, and the more so the more policies there are.

  Args:
    trials: returns of each policy, in the unit of rewards.

  Returns:
    A number in 0..K-1.
  """
  return int(np.asarray(trials).mean(axis=1).argmax())


def mean_and_error(
  returns: Float[AnyArray, 'M'],
) -> tuple[float, float | None]:
  """Mean of independent returns, and the standard error of that mean.

      s / sqrt(M),  s^2 = sum_m (x_m - mean)^2 / (M - 1)

  Returns:
    Both, in the unit of the returns; of a single one the error is not known.
  """
  returns = np.asarray(returns, np.float64)
  if len(returns) < 2:
    return float(returns.mean()), None
  return float(returns.mean()), float(
    returns.std(ddof=1) / np.sqrt(len(returns))
  )


def _log_q_of(
  logits: Float[AnyArray, 'N *batch K'], skill: Int[AnyArray, '*batch']
) -> Float[Array, '*batch']:
  """Log-probability in nats that the members' mean gives to the skill."""
  log_q = jax.nn.log_softmax(logits)
  index = jnp.broadcast_to(jnp.asarray(skill), log_q.shape[:-1])
  return categorical.log_mean(categorical.log_prob(log_q, index))


def _masked_mean(
  values: Float[Array, '*axes'], mask: Float[AnyArray, '*axes'] | None
) -> Float[Array, '']:
  """Mean of what the mask marks, which may be all; 0 if that is nothing."""
  if mask is None:
    mask = jnp.ones_like(values)
  # A product would turn an infinity that is masked out into no number.
  marked = jnp.where(mask != 0, values, 0.0)
  return jnp.sum(marked * mask) / jnp.maximum(jnp.sum(mask), 1.0)


def _probabilities(
  counts: Num[AnyArray, '*axes'],
) -> Float[np.ndarray, '*axes']:
  """Counts by their sum."""
  counts = np.asarray(counts, np.float64)
  total = counts.sum()
  if not np.isfinite(total) or np.any(counts < 0) or total == 0:
    raise ValueError(
      'counts must be finite, >= 0 and not all 0, '
      f'got minimum {counts.min(initial=np.inf)} and sum {total}.'
    )
  return counts / total


def _entropy_bits(p: Float[np.ndarray, '*axes']) -> float:
  """Entropy of one distribution over all the entries of `p`."""
  p = p[p > 0]
  # The sum starts at +0, so that a sure outcome does not have entropy -0.
  return float(0.0 - np.sum(p * np.log2(p)))


def _check_indices(name: str, index: AnyArray, size: int) -> None:
  """Refuses an index that NumPy would wrap around or JAX leave out."""
  index = np.asarray(index)
  if index.size and (index.min() < 0 or index.max() >= size):
    raise ValueError(
      f'{name} must lie in [0, {size}), '
      f'got values from {index.min()} to {index.max()}.'
    )
