"""Tests of launch/reproductions/domino.py."""

import signal

import numpy as np
import pytest

from envs import gridworlds
from launch.cli import command
from launch.reproductions import domino
from launch.reproductions import training
from launch.runs import experiment as experiment_lib
from launch.runs import run_files
from launch.training import local
from skills import files


def test_sets_of_policies_are_evaluated_by_exact_occupancies():
  # Policies that stay uniform.
  variant = training.Variant(
    agent='domino',
    environment='grid:top_rows',
    settings=(
      ('batch_size', 2),
      ('num_skills', 3),
      ('learner.policy_learning_rate', 1e-9),
      ('learner.table_init_stddev', 0.0),
    ),
    num_updates=50,
  )
  found = domino.train_set(variant, seed=0)
  assert found['distance'] == pytest.approx(0.0, abs=1e-4)
  assert found['value_ratio'] == pytest.approx(1.0, abs=1e-4)
  grid = gridworlds.load('top_rows')
  uniform = np.full((49, 5), 0.2)
  share = np.mean(
    [
      grid.mdp.state_distribution(uniform, t)[grid.positions[:, 0] <= 2].sum()
      for t in range(1, 65)
    ]
  )
  assert found['value_0'] == pytest.approx(share, abs=1e-4)
  assert len(found['curve']) == 5


def test_each_bar_on_tabular_sets_can_be_missed():
  good = {'distance': 0.7, 'value_ratio': 0.96, 'worst_value_ratio': 0.95}
  runs = {f'agent, {name}': [good, good] for name in domino._SETS}
  for l0 in (0.1, 0.2):
    runs[f'agent, VDW {l0}'] = [{**good, 'distance': 1.2 * l0}] * 2
  for alpha in (0.7, 0.9, 0.97):
    runs[f'agent, bump, alpha {alpha}'] = [
      {**good, 'distance': 1 - alpha, 'value_ratio': 0.98}
    ] * 2
  asked = {q.name: q for q in domino._tabular_quantities('agent', runs)}
  assert {q.verdict for q in asked.values()} == {'ok', '-'}
  # More than a quarter off, too small, no fall, and below alpha.
  for name, wrong in (
    ('VDW 0.1', {'distance': 0.126}),
    ('VDW 0.2', {'distance': 0.149}),
    ('repulsive', {'distance': 0.59}),
    ('bump, alpha 0.9', {'distance': 0.31}),
    ('repulsive', {'value_ratio': 0.89}),
    ('VDW 0.1', {'worst_value_ratio': 0.84}),
  ):
    key = f'agent, {name}'
    changed = {**runs, key: [{**runs[key][0], **wrong}] * 2}
    verdicts = [q.verdict for q in domino._tabular_quantities('agent', changed)]
    assert verdicts.count('MISSED') == 1, name


def test_each_bar_on_control_sets_can_be_missed():
  good = {'returns': [240.0, 230.0], 'worst_value_ratio': 0.96}
  adapted = dict.fromkeys(
    domino._CONTROL_CHANGES, {'best': 210.0, 'single': 200.0}
  )
  worse = {**adapted, domino._CONTROL_CHANGES[1]: {'best': 1, 'single': 2}}
  runs = {'no diversity': [{**good, 'distance': 0.1}]}
  for alpha, distance in ((0.7, 0.9), (0.85, 0.6), (0.95, 0.4)):
    runs[f'alpha {alpha}'] = [{**good, 'distance': distance}]
  runs['alpha 0.85'][0]['adapted'] = adapted
  verdicts = [q.verdict for q in domino._control_quantities(runs)]
  assert set(verdicts) == {'ok', '-'}
  for name, wrong in (
    ('alpha 0.85', {'worst_value_ratio': 0.79}),
    ('alpha 0.85', {'adapted': worse}),
    ('no diversity', {'distance': 0.14}),
    ('alpha 0.7', {'distance': 0.59}),
  ):
    changed = {**runs, name: [{**runs[name][0], **wrong}]}
    verdicts = [q.verdict for q in domino._control_quantities(changed)]
    assert verdicts.count('MISSED') == 1, name


def test_control_set_is_retrained_only_if_unfinished_or_changed(
  tmp_path, monkeypatch
):
  folder = tmp_path / 'a-set'
  received = None
  trained = []

  def run(experiment):
    assert experiment_lib.load(experiment.output_dir) == experiment
    trained.append(experiment.config.objective.alpha)
    if received is None:
      files.write_json(folder / run_files.SUMMARY_FILE, {})
    return command.Outcome({}, received)

  def train(alpha):
    return domino._control_set(folder, 0, 'domino', {'objective.alpha': alpha})

  monkeypatch.setattr(local, 'run', run)
  received = signal.SIGINT
  with pytest.raises(SystemExit) as stopped:
    train(0.8)
  assert stopped.value.code == 130
  received = None
  assert train(0.8) == train(0.8) == str(folder)
  assert trained == [0.8, 0.8]
  train(0.7)
  assert trained == [0.8, 0.8, 0.7]
