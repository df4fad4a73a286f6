"""Flags of commands that train several times, with different seeds."""

from collections.abc import Sequence

from absl import flags

_SEEDS = flags.DEFINE_list(
  'seeds',
  None,
  'Seeds. [reproduce: 0,1,2, or more where results vary much; sweep: 0]',
)
_PROCESSES = flags.DEFINE_integer(
  'processes', 2, 'Number of runs at the same time, one core each.'
)


def seeds(default: Sequence[int]) -> tuple[int, ...]:
  """The value of --seeds, or `default` if it was not given.

  Raises:
    ValueError: unless these are different whole numbers >= 0.
  """
  if _SEEDS.value is None:
    return tuple(default)
  given = _SEEDS.value
  try:
    parsed = tuple(int(seed) for seed in given)
  except ValueError:
    parsed = ()
  if not parsed or min(parsed) < 0 or len(set(parsed)) < len(parsed):
    raise ValueError(
      '--seeds must be different whole numbers >= 0, separated by commas, got '
      f'{",".join(given)!r}.'
    )
  return parsed


def processes() -> int:
  """The value of --processes.

  Raises:
    ValueError: unless it is at least 1.
  """
  if _PROCESSES.value < 1:
    raise ValueError(f'--processes must be >= 1, got {_PROCESSES.value}.')
  return _PROCESSES.value
