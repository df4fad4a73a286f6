"""Where a run's numbers go: a CSV file per logger, and TensorBoard."""

from collections.abc import Sequence
import os
import pathlib

from skills.agents import acme_api

# Seconds between rows of loggers that are written to very often.
_EVERY_S = 1.0

METRICS_FILE = 'metrics.csv'


class _CSVLogger(acme_api.loggers.CSVLogger):
  """Acme's, which leaves a file that it was given open."""

  def close(self) -> None:
    """Closes the file."""
    super().close()
    self._file.close()


def make(
  output_dir: str | os.PathLike[str],
  label: str,
  *,
  every_s: float = _EVERY_S,
  steps_key: str = 'actor_steps',
  beside: Sequence[acme_api.loggers.Logger] = (),
) -> acme_api.loggers.Logger:
  """Makes a logger that writes `<output_dir>/<label>/metrics.csv`.

  Args:
    output_dir: the run's folder.
    label: of the logger: 'actor', 'learner' or 'evaluator'.
    every_s: seconds between rows; rows in between are dropped unread, so that
      nobody waits for the device.
    steps_key: what TensorBoard draws numbers over.
    beside: further loggers of the same rows.
  """
  folder = pathlib.Path(output_dir) / label
  folder.mkdir(parents=True, exist_ok=True)
  # Line buffered, so that an interrupted run keeps every row.
  file = open(folder / METRICS_FILE, 'a', buffering=1)
  both = acme_api.loggers.Dispatcher(
    [
      _CSVLogger(file),
      acme_api.tf_summary.TFSummaryLogger(
        str(pathlib.Path(output_dir) / 'tensorboard' / label),
        label,
        steps_key=steps_key,
      ),
      *beside,
    ]
  )
  if not every_s:
    return both
  return acme_api.loggers.TimeFilter(both, every_s)
