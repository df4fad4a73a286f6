"""Loggers of a run: CSV files, TensorBoard and Weights & Biases."""

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
import hashlib
import importlib
import json
import os
import pathlib
import threading
from typing import Any
from typing import NamedTuple

from absl import logging
import numpy as np

from launch.runs import run_files
from skills import loading
from skills.agents import acme_api

# Seconds between rows of loggers that are written to very often.
EVERY_S = 1.0


class _CSVLogger(acme_api.loggers.CSVLogger):
  """Acme's CSV logger, which also closes a file that it was given."""

  def close(self) -> None:
    """Closes the file."""
    super().close()
    self._file.close()


# As `IntrinsicReward.diagnose`.
Diagnose = Callable[[Mapping[str, Any], int], str | None]


class Diagnosis(acme_api.loggers.Logger):
  """Warns once of what an objective says of its metrics."""

  def __init__(
    self,
    diagnose: Diagnose,
    warn: Callable[[str], None] = logging.warning,
  ):
    """Initializes the logger.

    Args:
      diagnose: metrics, number of updates -> a message, or None.
      warn: gets the message.
    """
    self._diagnose = diagnose
    self._warn = warn
    self._has_warned = False

  def write(self, data: Mapping[str, Any]) -> None:
    """Looks at a learner's row."""
    if self._has_warned:
      return
    message = self._diagnose(data, int(data.get('learner_steps', 0)))
    if message is not None:
      self._has_warned = True
      self._warn(message)

  def close(self) -> None:
    """Nothing to do."""


# Newer versions need a newer protobuf than TensorFlow 2.8 has.
_WANDB_THAT_WORKS = 'wandb==0.19.11'


def check_wandb() -> None:
  """Refuses --wandb where Weights & Biases cannot be used.

  Raises:
    ValueError: saying what to do.
  """
  why = 'it is not installed'
  try:
    # A folder named wandb, which it leaves behind, passes for a package.
    if hasattr(importlib.import_module('wandb'), 'init'):
      return
  except ImportError as error:
    if not isinstance(error, ModuleNotFoundError) or error.name != 'wandb':
      why = f'it cannot be imported here ({error})'
  raise ValueError(
    f'--wandb needs the package wandb, and {why}; this project does not bring '
    'it. Install the version that goes with its TensorFlow: '
    f'`.venv/bin/python -m pip install {_WANDB_THAT_WORKS}`; or leave --wandb '
    'out: metrics go to CSV files and TensorBoard in any case.'
  )


class _WandbRun(NamedTuple):
  """A run of Weights & Biases, and the labels of the loggers that use it."""

  run: Any
  users: list[str]


# One for all loggers of a run in this process. Those of other processes belong
# to the same group.
_wandb_runs: dict[str, _WandbRun] = {}
_wandb_lock = threading.Lock()


class WandbLogger(acme_api.loggers.Logger):
  """Logs rows to Weights & Biases.

  Metrics are named '<label>/<column>', and drawn over steps of their own. A run
  that is continued goes on there too. Its own settings, such as
  WANDB_MODE=offline, apply.
  """

  def __init__(
    self, output_dir: str | os.PathLike[str], label: str, steps_key: str
  ):
    """Begins, or joins, the run of this process.

    Args:
      output_dir: the run's folder, by whose name it is known.
      label: of the logger.
      steps_key: what its rows are drawn over.
    """
    self._folder = pathlib.Path(output_dir).resolve()
    self._label = label
    with _wandb_lock:
      self._run = self._joined()
      self._run.define_metric(f'{label}/*', step_metric=f'{label}/{steps_key}')

  def _joined(self) -> Any:
    key = str(self._folder)
    if key not in _wandb_runs:
      wandb = importlib.import_module('wandb')
      config = self._folder / loading.CONFIG_FILE
      run = wandb.init(
        # Its own variables come first.
        project=os.environ.get('WANDB_PROJECT', 'skills'),
        dir=key,
        name=self._folder.name,
        group=self._folder.name,
        job_type=self._label,
        id=hashlib.sha256(f'{key}/{self._label}'.encode()).hexdigest()[:16],
        resume='allow',
        config=json.loads(config.read_text()) if config.exists() else None,
      )
      _wandb_runs[key] = _WandbRun(run, [])
    _wandb_runs[key].users.append(self._label)
    return _wandb_runs[key].run

  def write(self, data: Mapping[str, Any]) -> None:
    """Logs the numbers of a row."""
    numbers = {
      f'{self._label}/{name}': float(value)
      for name, value in data.items()
      if np.ndim(value) == 0 and not isinstance(value, str)
    }
    with _wandb_lock:
      self._run.log(numbers)

  def close(self) -> None:
    """Ends the run with the last of its loggers."""
    key = str(self._folder)
    with _wandb_lock:
      if key not in _wandb_runs or self._label not in _wandb_runs[key].users:
        return
      users = _wandb_runs[key].users
      users.remove(self._label)
      if not users:
        _wandb_runs.pop(key).run.finish()


def make(
  output_dir: str | os.PathLike[str],
  label: str,
  *,
  every_s: float = EVERY_S,
  steps_key: str = 'actor_steps',
  diagnose: Diagnose | None = None,
  beside: Sequence[acme_api.loggers.Logger] = (),
  wandb: bool = False,
) -> acme_api.loggers.Logger:
  """Makes a logger that writes `<output_dir>/<label>/metrics.csv`.

  Args:
    output_dir: the run's folder.
    label: of the logger: 'actor', 'learner' or 'evaluator'.
    every_s: seconds between rows; rows in between are dropped unread, so that
      no computation is waited for.
    steps_key: what TensorBoard draws numbers over.
    diagnose: of a learner's logger, the objective's.
    beside: further loggers of the same rows.
    wandb: whether Weights & Biases gets them, too.
  """
  folder = pathlib.Path(output_dir) / label
  folder.mkdir(parents=True, exist_ok=True)
  # Line buffered, so that an interrupted run keeps every row.
  file = open(folder / run_files.METRICS_FILE, 'a', buffering=1)
  both = acme_api.loggers.Dispatcher(
    [
      _CSVLogger(file),
      acme_api.tf_summary.TFSummaryLogger(
        str(pathlib.Path(output_dir) / 'tensorboard' / label),
        label,
        steps_key=steps_key,
      ),
      *([Diagnosis(diagnose)] if diagnose is not None else []),
      *([WandbLogger(output_dir, label, steps_key)] if wandb else []),
      *beside,
    ]
  )
  if not every_s:
    return both
  return acme_api.loggers.TimeFilter(both, every_s)
