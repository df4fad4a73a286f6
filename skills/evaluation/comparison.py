"""What several seeds say together, and how sure that is.

Agarwal, Schwarzer, Castro, Courville and Bellemare, "Deep reinforcement
learning at the edge of the statistical precipice", 2021 (arXiv:2108.13264):
interquartile means with percentile bootstrap intervals over seeds. A run of one
task is here what a run of many tasks is there, so that there is one stratum.
"""

from collections.abc import Mapping
from collections.abc import Sequence
from typing import NamedTuple

from jaxtyping import Float
from jaxtyping import Num
import numpy as np
from scipy import stats

# A quarter of the seeds is left out at either end.
_TRIMMED = 0.25
CONFIDENCE = 0.95
_NUM_RESAMPLES = 2000
# Points of a curve that several runs share.
_NUM_POINTS = 200

Curve = tuple[Num[np.ndarray, 'n'], Num[np.ndarray, 'n']]


def interquartile_mean(
  values: Num[np.ndarray, 'n *batch'],
) -> Float[np.ndarray, '*batch']:
  """Mean of the middle half of the seeds.

  Of n seeds floor(n / 4) are left out at either end, so that of three or fewer
  it is their mean.

  Args:
    values: one for each seed.

  Returns:
    The means, in the unit of the values.
  """
  return np.asarray(stats.trim_mean(values, _TRIMMED, axis=0), float)


class Interval(NamedTuple):
  """A confidence interval.

  Attributes:
    low: the lower end.
    high: the upper end.
  """

  low: Float[np.ndarray, '*batch']
  high: Float[np.ndarray, '*batch']


def interval(values: Num[np.ndarray, 'n *batch']) -> Interval:
  """A 95% interval of the interquartile mean, by the percentile bootstrap.

  The same seeds are drawn along the whole of a curve. With few seeds such an
  interval is too narrow; with two it reaches from one to the other.

  Args:
    values: one for each seed.

  Returns:
    Its ends; no numbers if there is one seed alone. The same values give the
    same interval.
  """
  values = np.asarray(values, float)
  if len(values) < 2:
    nothing = np.full(values.shape[1:], np.nan)
    return Interval(nothing, nothing)
  found = stats.bootstrap(
    (values,),
    lambda x, axis: stats.trim_mean(x, _TRIMMED, axis=axis),
    axis=0,
    vectorized=True,
    n_resamples=_NUM_RESAMPLES,
    confidence_level=CONFIDENCE,
    method='percentile',
    rng=np.random.default_rng(0),
  ).confidence_interval
  return Interval(np.asarray(found.low), np.asarray(found.high))


def on_common_steps(
  curves: Sequence[Curve],
) -> tuple[Num[np.ndarray, 'm'], Float[np.ndarray, 'n m']]:
  """Curves of several runs where all of them have values.

  Args:
    curves: steps, ascending, and the value at each.

  Returns:
    Steps and each curve's values there: their own steps if all have the same,
    or else 200 or fewer over the steps that all reached, interpolated linearly;
    none if no step is common to all.
  """
  curves = [_of_numbers(curve) for curve in curves]
  if any(len(steps) == 0 for steps, _ in curves):
    return np.zeros(0), np.zeros((len(curves), 0))
  first, _ = curves[0]
  if all(np.array_equal(first, steps) for steps, _ in curves):
    return first, np.stack([values for _, values in curves]).astype(float)
  low = max(steps[0] for steps, _ in curves)
  high = min(steps[-1] for steps, _ in curves)
  if low > high:
    return np.zeros(0), np.zeros((len(curves), 0))
  longest = max(len(steps) for steps, _ in curves)
  common = np.unique(np.linspace(low, high, min(longest, _NUM_POINTS)))
  return common, np.stack(
    [np.interp(common, steps, values) for steps, values in curves]
  )


def thinned(curve: Curve, num_points: int) -> Curve:
  """A curve of fewer points, each the mean of as many that follow each other.

  Args:
    curve: steps and values.
    num_points: at most.
  """
  steps, values = curve
  size = -(-len(steps) // num_points)
  if size <= 1:
    return curve
  starts = np.arange(0, len(steps), size)
  counts = np.diff([*starts, len(steps)])
  return (
    np.add.reduceat(steps, starts) / counts,
    np.add.reduceat(values, starts) / counts,
  )


class Difference(NamedTuple):
  """Paired difference of two groups of runs.

  Attributes:
    num_pairs: seeds that both have.
    mean: interquartile mean of second minus first; no number without a pair.
    interval: of that mean; no numbers of fewer than two pairs.
    num_larger: pairs of which the second is larger.
  """

  num_pairs: int
  mean: float
  interval: Interval
  num_larger: int


def paired_difference(
  first: Mapping[int, float], second: Mapping[int, float]
) -> Difference:
  """Compares the runs of the same seeds.

  Args:
    first: seed -> a number.
    second: the same, of other runs.
  """
  seeds = sorted(first.keys() & second.keys())
  differences = np.array([second[seed] - first[seed] for seed in seeds], float)
  if not seeds:
    nothing = np.array(np.nan)
    return Difference(0, np.nan, Interval(nothing, nothing), 0)
  return Difference(
    len(seeds),
    float(interquartile_mean(differences)),
    interval(differences),
    int(np.sum(differences > 0)),
  )


def _of_numbers(curve: Curve) -> Curve:
  steps, values = (np.asarray(part) for part in curve)
  is_number = np.isfinite(values)
  return steps[is_number], values[is_number]
