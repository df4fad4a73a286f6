"""A paper's numbers and ours beside them, with a verdict on each."""

from collections.abc import Sequence
import dataclasses

import numpy as np
from rich import table as rich_table

from launch.cli import command
from launch.reproductions import parallel

# More seeds than this have no columns of their own.
_MAX_COLUMNS = 6


@dataclasses.dataclass(frozen=True)
class Quantity:
  """A number of a paper, and ours.

  Attributes:
    name: what it is.
    paper: its value there, with the source.
    ours: one for each seed.
    low: lower limit of the mean over seeds; None for no limit.
    high: upper limit of it.
  """

  name: str
  paper: str
  ours: tuple[float, ...]
  low: float | None = None
  high: float | None = None

  @property
  def mean(self) -> float:
    """Mean over seeds."""
    return float(np.mean(self.ours))

  @property
  def tolerance(self) -> str:
    """The limits in words."""
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


# What a reproduction gives: the rows of its table, and the runs behind them.
Result = tuple[list[Quantity], parallel.Runs]


def seed_headings(seeds: Sequence[int]) -> list[str]:
  """Headings of the columns that `seed_columns` fills."""
  if len(seeds) > _MAX_COLUMNS:
    return ['lowest', 'highest', '+- (s.e.)']
  return [f'seed {seed}' for seed in seeds]


def seed_columns(ours: Sequence[float]) -> tuple[float, ...]:
  """Each seed's number; of many their range and the mean's standard error."""
  if len(ours) <= _MAX_COLUMNS:
    return tuple(ours)
  error = float(np.std(ours, ddof=1)) / len(ours) ** 0.5
  return min(ours), max(ours), error


def show(
  name: str, quantities: Sequence[Quantity], seeds: Sequence[int]
) -> None:
  """Prints the table."""
  table = rich_table.Table(title=name)
  table.add_column('quantity')
  table.add_column('paper (source)')
  for heading in [*seed_headings(seeds), 'mean']:
    table.add_column(heading, justify='right')
  table.add_column('tolerance')
  table.add_column('verdict')
  # Errors and standard deviations are small.
  digits = 2 if max(abs(q.mean) for q in quantities) > 2 else 3
  for quantity in quantities:
    numbers = [*seed_columns(quantity.ours), quantity.mean]
    table.add_row(
      quantity.name,
      quantity.paper,
      *(f'{x:.{digits}f}' for x in numbers),
      quantity.tolerance,
      quantity.verdict,
    )
  command.console().print(table)
