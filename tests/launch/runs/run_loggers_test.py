"""Tests of launch/runs/run_loggers.py."""

import sys
import types

import jax.numpy as jnp
import numpy as np
import pytest

from launch.runs import run_files
from launch.runs import run_loggers
from skills.objectives import domino
from tests import runs


@pytest.mark.parametrize(
  ('rows', 'num_warnings'),
  [
    # Once, and not before the averages mean something.
    ([(999, 0.1), (1000, 1.9), (1001, 0.1)], 1),
    ([(999, 0.1), (2000, 2.1)], 0),
  ],
)
def test_collapsed_policies_are_warned_of_once(rows, num_warnings):
  warnings = []
  logger = run_loggers.Diagnosis(domino.diagnose, warnings.append)
  for steps, apart in rows:
    logger.write({'learner_steps': steps, domino.DISTANCE_OVER_NOISE: apart})
  assert len(warnings) == num_warnings
  assert all('All policies do the same' in text for text in warnings)


class Wandb(types.ModuleType):
  """Stands in for the package, of which it has what is used."""

  def __init__(self):
    super().__init__('wandb')
    self.begun, self.rows, self.ended = [], [], 0

  def init(self, **settings):
    self.begun.append(settings)
    return self

  def define_metric(self, name, step_metric):
    self.rows.append((name, step_metric))

  def log(self, row):
    self.rows.append(row)

  def finish(self):
    self.ended += 1


def test_all_loggers_of_a_run_share_one_of_weights_and_biases(
  tmp_path, monkeypatch
):
  wandb = Wandb()
  monkeypatch.setitem(sys.modules, 'wandb', wandb)
  (tmp_path / 'config.json').write_text('{"agent": "vic"}')
  run_loggers.check_wandb()
  one, other = (
    run_loggers.make(tmp_path, label, every_s=0, wandb=True)
    for label in ('learner', 'evaluator')
  )
  one.write({'actor_steps': 3, 'loss': np.float32(0.5)})
  other.write({'actor_steps': 3, 'skills_learned': jnp.asarray(2.0)})
  assert wandb.rows == [
    ('learner/*', 'learner/actor_steps'),
    ('evaluator/*', 'evaluator/actor_steps'),
    {'learner/actor_steps': 3.0, 'learner/loss': 0.5},
    {'evaluator/actor_steps': 3.0, 'evaluator/skills_learned': 2.0},
  ]
  [settings] = wandb.begun
  assert settings['name'] == tmp_path.name
  assert settings['config'] == {'agent': 'vic'}
  one.close()
  assert wandb.ended == 0
  other.close()
  assert wandb.ended == 1
  # A run that goes on is the same one.
  again = run_loggers.make(tmp_path, 'learner', wandb=True)
  assert wandb.begun[1]['id'] == settings['id']
  assert wandb.begun[1]['resume'] == 'allow'
  again.close()


def test_weights_and_biases_is_imported_only_on_request(tmp_path, monkeypatch):
  monkeypatch.setitem(sys.modules, 'wandb', None)
  run_loggers.make(tmp_path, 'learner').close()


@pytest.mark.parametrize(
  ('found', 'why'),
  [(None, 'not installed'), (types.ModuleType('wandb'), 'not installed')],
)
def test_without_the_package_the_flag_says_what_to_install(
  monkeypatch, found, why
):
  monkeypatch.setitem(sys.modules, 'wandb', found)
  with pytest.raises(ValueError, match=why) as refused:
    run_loggers.check_wandb()
  assert 'pip install wandb==' in str(refused.value)


def test_loggers_write_csv_and_tensorboard(tmp_path):
  runs.write_rows(
    tmp_path,
    'evaluator',
    [
      {'actor_steps': 10, 'skills_learned': jnp.asarray(1.5)},
      {'actor_steps': 20, 'skills_learned': np.float32(2.5)},
    ],
  )
  rows = run_files.read_metrics(tmp_path / 'evaluator' / 'metrics.csv')
  assert [float(row['skills_learned']) for row in rows] == [1.5, 2.5]
  assert list((tmp_path / 'tensorboard' / 'evaluator').iterdir())


def test_a_resumed_run_goes_on_in_the_same_file(tmp_path):
  path = tmp_path / 'actor' / 'metrics.csv'
  runs.write_rows(
    tmp_path, 'actor', [{'actor_steps': n, 'x': 1} for n in (1, 2, 3)]
  )
  # It had come to 3, but its checkpoint was of 1.
  runs.write_rows(
    tmp_path, 'actor', [{'actor_steps': n, 'x': 2} for n in (2, 4)]
  )
  rows = run_files.read_metrics(path)
  assert [(float(row['actor_steps']), float(row['x'])) for row in rows] == [
    (1, 1),
    (2, 2),
    (4, 2),
  ]


def test_rows_are_on_disk_before_the_logger_is_closed(tmp_path):
  logger = run_loggers.make(tmp_path, 'actor', every_s=0)
  logger.write({'actor_steps': 1})
  path = tmp_path / 'actor' / 'metrics.csv'
  assert len(run_files.read_metrics(path)) == 1
  logger.close()


def test_a_logger_that_is_written_to_often_reads_few_rows(tmp_path):
  logger = run_loggers.make(tmp_path, 'learner')
  for i in range(100):
    logger.write({'actor_steps': i})
  logger.close()
  rows = run_files.read_metrics(tmp_path / 'learner' / 'metrics.csv')
  assert 1 <= len(rows) <= 2
