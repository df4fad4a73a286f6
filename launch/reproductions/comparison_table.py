"""Numbers of papers and ours beside them, with a verdict on each."""

from collections.abc import Sequence
import dataclasses

import numpy as np
from rich import table as rich_table

from launch.cli import command

# More seeds than this have no columns of their own.
_MAX_COLUMNS = 6


@dataclasses.dataclass(frozen=True, kw_only=True)
class Quantity:
  """A number of a paper, and ours.

  Attributes:
    name: what it is.
    paper: its value there, with the source.
    ours: one for each seed.
    low: the least that the mean over seeds may be; None for no limit.
    high: the most that it may be.
  """

  name: str
  paper: str
  ours: tuple[float, ...]
  low: float | None = None
  high: float | None = None

  @property
  def mean(self) -> float:
    """Over seeds."""
    return float(np.mean(self.ours))

  @property
  def tolerance(self) -> str:
    """In words."""
    if self.low is not None and self.high is not None:
      return f'{self.low:g} to {self.high:g}'
    if self.low is not None:
      return f'>= {self.low:g}'
    return 'reported' if self.high is None else f'<= {self.high:g}'

  @property
  def verdict(self) -> str:
    """Whether the mean lies within the tolerance."""
    if self.low is None and self.high is None:
      return '-'
    above = self.low is None or self.mean >= self.low
    below = self.high is None or self.mean <= self.high
    return 'ok' if above and below else 'MISSED'


def of_seeds(seeds: Sequence[int]) -> list[str]:
  """Headings of the columns that `spread` fills."""
  if len(seeds) > _MAX_COLUMNS:
    return ['lowest', 'highest', '+- (s.e.)']
  return [f'seed {seed}' for seed in seeds]


def spread(ours: Sequence[float]) -> tuple[float, ...]:
  """Each seed's number; of many the ends and the standard error of the mean."""
  if len(ours) <= _MAX_COLUMNS:
    return tuple(ours)
  error = float(np.std(ours, ddof=1)) / len(ours) ** 0.5
  return min(ours), max(ours), error


def show(
  name: str, quantities: Sequence[Quantity], seeds: Sequence[int]
) -> None:
  """Prints the table."""
  table = rich_table.Table(title=name)
  for heading in ('quantity', 'paper (source)'):
    table.add_column(heading)
  for heading in (*of_seeds(seeds), 'mean'):
    table.add_column(heading, justify='right')
  table.add_column('tolerance')
  table.add_column('verdict')
  # Errors and spreads are small.
  digits = 2 if max(abs(q.mean) for q in quantities) > 2 else 3
  for quantity in quantities:
    table.add_row(
      quantity.name,
      quantity.paper,
      *(f'{x:.{digits}f}' for x in (*spread(quantity.ours), quantity.mean)),
      quantity.tolerance,
      quantity.verdict,
    )
  command.console().print(table)
