"""Names of a run's files, and its tables of metrics."""

import csv
import os
from typing import NamedTuple

SUMMARY_FILE = 'summary.json'

# In the folder of each logger.
METRICS_FILE = 'metrics.csv'

LEARNING_CURVE = 'learning_curve.png'

SKILL_MAP = 'skill_map.png'

SKILL_ENDS = 'skill_ends.png'

REPORT_FILE = 'report.html'


class Metrics(NamedTuple):
  """The rows of a metrics file.

  Attributes:
    rows: one for each step; rows that a resumed run made again replace those
      before.
    num_unreadable: rows that were left out because they are cut short.
  """

  rows: list[dict[str, str]]
  num_unreadable: int


def metrics_of(path: str | os.PathLike[str]) -> Metrics:
  """Reads a metrics file, which may still be being written.

  Raises:
    ValueError: if it is no such file.
  """
  try:
    with open(path, newline='') as file:
      text = file.read()
    # A row without the end of its line is still being written.
    whole, end, rest = text.rpartition('\n')
    rows = list(csv.DictReader((whole + end).splitlines()))
  except (FileNotFoundError, NotADirectoryError):
    return Metrics([], 0)
  except (OSError, UnicodeDecodeError, csv.Error) as error:
    raise ValueError(f'{path} is broken: {error}.') from error
  num_unreadable = int(bool(rest))
  kept: list[dict[str, str]] = []
  for row in rows:
    try:
      # Too few entries leave None as a value, too many as a key.
      if None in row or None in row.values():
        raise ValueError(row)
      steps = float(row['actor_steps'])
    except (KeyError, ValueError):
      num_unreadable += 1
      continue
    while kept and float(kept[-1]['actor_steps']) >= steps:
      kept.pop()
    kept.append(row)
  return Metrics(kept, num_unreadable)


def read_metrics(path: str | os.PathLike[str]) -> list[dict[str, str]]:
  """Rows of a metrics file; see `metrics_of`."""
  return metrics_of(path).rows
