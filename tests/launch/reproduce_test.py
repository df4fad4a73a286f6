"""Verdicts, and a small reproduction from end to end."""

import json
import pathlib
import signal

from absl import flags
from absl.testing import flagsaver
import numpy as np
import pytest

from envs import gridworlds
from launch import commands
from launch import experiment as experiment_lib
from launch import local
from launch import reproduce
from launch import results
from skills.evaluation import exhibits


def quantity(*ours: float, low=None, high=None) -> reproduce.Quantity:
  return reproduce.Quantity(
    name='skills', paper='3 (a paper)', ours=ours, low=low, high=high
  )


@pytest.fixture(autouse=True)
def parsed_flags():
  if not flags.FLAGS.is_parsed():
    flags.FLAGS(['test'])


def test_the_verdict_is_on_the_mean_over_seeds():
  # The mean of 1 and 4 is 2.5.
  assert quantity(1.0, 4.0, low=2.5).verdict == 'ok'
  assert quantity(1.0, 4.0, low=2.6).verdict == 'MISSED'
  assert quantity(1.0, 4.0, high=2.5).verdict == 'ok'
  assert quantity(1.0, 4.0, high=2.4).verdict == 'MISSED'
  assert quantity(1.0, 4.0, low=2.0, high=3.0).verdict == 'ok'


def test_what_has_no_tolerance_is_reported_without_a_verdict():
  assert quantity(1.0).verdict == '-'
  assert quantity(1.0).tolerance == 'reported'


@pytest.mark.parametrize(
  ('low', 'high', 'status'), [(0.0, None, 0), (None, 0.0, 1)]
)
def test_status_and_json_say_whether_the_tolerance_was_met(
  tmp_path, monkeypatch, capsys, low, high, status
):
  def tiny(seeds, processes):
    """A few updates of the real program."""
    variant = reproduce.Variant(
      agent='vic',
      environment='grid:disdain_release',
      settings=(('batch_size', 2),),
      num_updates=100,
    )
    runs = reproduce.train_all({'vic': variant}, seeds, processes)
    found = reproduce.Quantity(
      name='skills',
      paper='none',
      ours=reproduce.skills_learned(runs['vic']),
      low=low,
      high=high,
    )
    return [found], runs

  monkeypatch.setattr(reproduce, 'REPRODUCTIONS', {'tiny': tiny})
  with flagsaver.flagsaver(seeds=['3', '5'], reproduce_dir=str(tmp_path)):
    assert reproduce.main(['reproduce', 'tiny']) == status
  assert 'seed 5' in capsys.readouterr().out
  written = json.loads((tmp_path / 'tiny.json').read_text())
  assert written['seeds'] == [3, 5]
  assert len(written['quantities'][0]['ours']) == 2
  assert written['quantities'][0]['verdict'] == ('MISSED' if status else 'ok')
  assert written['wall_time_s'] > 0
  table, curve = exhibits.load(tmp_path / 'tiny')
  assert len(table.rows) == 1
  assert len(curve.lines['vic'][1]) == 50
  first, second = written['quantities'][0]['ours']
  assert first != second
  assert 'jax' in written['versions']
  assert len(written['runs']['vic'][1]['curve']) == 50


@pytest.mark.parametrize(
  ('arguments', 'seeds', 'message'),
  [
    ([], ['0'], 'name one result'),
    (['disdain_relase_grid'], ['0'], "Did you mean 'disdain_release_grid'"),
    (['disdain_release_grid'], ['0', 'x'], 'seeds'),
    (['disdain_release_grid'], ['1', '1'], 'different'),
  ],
)
def test_mistakes_end_in_one_line(capsys, arguments, seeds, message):
  with (
    flagsaver.flagsaver(seeds=seeds),
    pytest.raises(SystemExit) as exit_info,
  ):
    reproduce.main(['reproduce', *arguments])
  assert exit_info.value.code == 2
  error = capsys.readouterr().err
  assert message in error
  assert error.count('\n') == 1


def test_controllers_of_skills_and_of_primitives_make_equally_many_steps():
  variant = reproduce.Variant(
    agent='vic',
    environment='grid:open_41',
    settings=(('skill_length', 10), ('batch_size', 2)),
    num_updates=100,
  )
  with_skills = reproduce.successes(variant, 0, num_steps=500)
  assert len(with_skills['of_each_goal']) == 32
  # Of 8 skills of 10 steps and 5 primitives, one choice takes 85 / 13 = 6.5
  # steps as long as nothing is known.
  assert 500 / 9 < with_skills['choices'] < 500 / 5
  alone = reproduce.successes(None, 0, num_steps=500)
  assert alone['choices'] == 500
  for found in (with_skills, alone):
    # The goals are 20 steps or more away.
    assert max(found['of_each_goal']) <= 25
    mean = sum(found['of_each_goal']) / 32
    assert found['successes'] == pytest.approx(mean)


def test_every_reproduction_says_what_it_reproduces():
  for reproduction in reproduce.REPRODUCTIONS.values():
    assert reproduction.__doc__


def flag(command, name):
  [value] = [
    argument.partition('=')[2]
    for argument in command
    if argument.startswith(f'--{name}=')
  ]
  return value


@pytest.mark.parametrize(
  # Of 16 skills, 15% are 2.4.
  ('by_threads', 'verdict'),
  [(13.7, 'ok'), (13.5, 'MISSED'), (18.3, 'ok'), (18.5, 'MISSED')],
)
def test_each_way_must_learn_as_many_skills_as_run_local_within_15_percent(
  tmp_path, monkeypatch, by_threads, verdict
):
  commands = []

  def run(command, check):
    assert check
    commands.append(command)
    folder = pathlib.Path(flag(command, 'output_dir'))
    assert not folder.exists(), 'the command would refuse it'
    folder.mkdir(parents=True)
    offset = int(flag(command, 'seed')) - 4
    skills = by_threads if '--lp_launch_type=local_mt' in command else 16.0
    results.write_json(
      folder / results.SUMMARY_FILE,
      {
        'skills_learned': skills + offset,
        'environment_steps': int(flag(command, 'num_steps')),
      },
    )

  monkeypatch.setattr(reproduce.subprocess, 'run', run)
  name = 'disdain_release_grid_at_any_scale'
  leftover = tmp_path / name / 'run_local-3'
  leftover.mkdir(parents=True)
  with flagsaver.flagsaver(reproduce_dir=str(tmp_path)):
    quantities, runs = reproduce.REPRODUCTIONS[name]((3, 5), 2)
  assert [len(each) for each in runs.values()] == [2, 2, 2]
  assert len(commands) == 6
  assert len({flag(command, 'output_dir') for command in commands}) == 6
  assert len({flag(command, 'num_steps') for command in commands}) == 1
  found = {quantity.name: quantity.verdict for quantity in quantities}
  assert found.pop('skills, local_mt, 2 actors') == verdict
  assert set(found.values()) == {'ok'}


@pytest.mark.slow
@pytest.mark.launchpad
@pytest.mark.timeout(5400)
def test_disdain_learns_as_much_by_processes_and_threads_as_by_run_local(
  tmp_path,
):
  with flagsaver.flagsaver(reproduce_dir=str(tmp_path)):
    name = 'disdain_release_grid_at_any_scale'
    assert reproduce.main(['reproduce', name]) == 0


def fake_runs(monkeypatch, **by_agent):
  """Makes every run of an agent come out with the same numbers."""

  def train_all(variants, seeds, processes, train_one):
    assert train_one is reproduce.train_and_count
    return {name: [by_agent[name] for _ in seeds] for name in variants}

  monkeypatch.setattr(reproduce, 'train_all', train_all)


def numbers(final, pair, displacement=1.0, states=100.0):
  return {
    'information_final': final,
    'information_pair': pair,
    'information_displacement': displacement,
    'effective_states': states,
  }


@pytest.mark.parametrize(
  ('rvic', 'vic', 'missed'),
  [
    ((0.49, 2.01), 2.51, 0),
    ((0.51, 2.01), 2.51, 1),
    ((0.49, 1.99), 2.51, 1),
    ((0.49, 2.01), 2.49, 1),
  ],
)
def test_in_the_open_grid_rvic_must_tell_by_the_pair_and_vic_by_the_end(
  monkeypatch, rvic, vic, missed
):
  fake_runs(
    monkeypatch,
    rvic=numbers(*rvic),
    vic_final=numbers(vic, 3.0),
    vic_pair=numbers(0.0, 0.0),
  )
  quantities, _ = reproduce.REPRODUCTIONS['rvic_open_grid']((0, 1), 1)
  verdicts = [quantity.verdict for quantity in quantities]
  assert verdicts.count('MISSED') == missed
  assert verdicts.count('ok') == 3 - missed


@pytest.mark.parametrize(
  ('displacement', 'final', 'pair', 'missed'),
  [(1.31, 499, 499, 0), (1.29, 499, 499, 1), (1.31, 501, 501, 2)],
)
def test_in_the_factored_grid_rvic_must_reach_twice_the_states_of_either_vic(
  monkeypatch, displacement, final, pair, missed
):
  fake_runs(
    monkeypatch,
    rvic=numbers(0.3, 2.3, displacement, states=1000.0),
    vic_final=numbers(3.0, 3.0, states=final),
    vic_pair=numbers(3.0, 3.0, states=pair),
    vic_final_wide=numbers(3.0, 3.0, states=900.0),
    vic_pair_wide=numbers(3.0, 3.0, states=900.0),
  )
  quantities, _ = reproduce.REPRODUCTIONS['rvic_factored_grid']((0, 1), 1)
  verdicts = [quantity.verdict for quantity in quantities]
  assert verdicts.count('MISSED') == missed
  assert verdicts.count('ok') == 3 - missed


def test_counting_is_of_the_last_tenth_and_of_chained_skills(monkeypatch):
  monkeypatch.setattr(reproduce, '_COUNTED_SKILLS', 1600)
  steps = reproduce._Steps(0.05, 0.02)
  variant = reproduce._rvic_variant('vic_pair', 'grid:open_11', steps, 100)
  found = reproduce.train_and_count(variant, seed=3)
  assert found['updates'] == [92, 94, 96, 98, 100]
  states = [row['effective_states'] for row in found['curve']]
  assert len(set(states)) == 5
  assert found['effective_states'] == pytest.approx(sum(states) / 5)
  assert 1 < found['effective_states'] < 121
  # What the steps mean: 2 rate / B of a value's error, rate / B of a logit's.
  settings = dict(variant.settings)
  assert settings['learner.learning_rate'] == pytest.approx(0.05 * 16 / 2)
  rate = settings['objective.discriminator.learning_rate']
  assert rate == pytest.approx(0.02 * 16)
  assert settings['objective.sees_start'] is True


def test_sets_of_policies_are_judged_by_true_occupancies():
  # Policies that never move from acting at random.
  variant = reproduce.Variant(
    agent='domino',
    environment='grid:top_rows',
    settings=(
      ('batch_size', 2),
      ('num_skills', 3),
      ('learner.policy_rate', 1e-9),
      ('learner.table_spread', 0.0),
    ),
    num_updates=50,
  )
  found = reproduce.train_set(variant, seed=0)
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


def test_what_sets_of_policies_must_show_is_asked_of_agent_and_planner():
  good = {'distance': 0.7, 'value_ratio': 0.96, 'worst_value_ratio': 0.95}
  runs = {f'agent, {name}': [good, good] for name in reproduce._SETS}
  for l0 in (0.1, 0.2):
    runs[f'agent, VDW {l0}'] = [{**good, 'distance': 1.2 * l0}] * 2
  for alpha in (0.7, 0.9, 0.97):
    runs[f'agent, bump, alpha {alpha}'] = [
      {**good, 'distance': 1 - alpha, 'value_ratio': 0.98}
    ] * 2
  asked = {q.name: q for q in reproduce._of_sets('agent', runs)}
  assert {q.verdict for q in asked.values()} == {'ok', '-'}
  # Further than a quarter off, too near, no fall, and below alpha.
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
    verdicts = [q.verdict for q in reproduce._of_sets('agent', changed)]
    assert verdicts.count('MISSED') == 1, name


def test_what_sets_that_balance_a_pole_must_show():
  good = {'returns': [240.0, 230.0], 'worst_value_ratio': 0.96}
  adapted = dict.fromkeys(
    reproduce._CONTROL_CHANGES, {'best': 210.0, 'single': 200.0}
  )
  worse = {**adapted, reproduce._CONTROL_CHANGES[1]: {'best': 1, 'single': 2}}
  runs = {'no diversity': [{**good, 'distance': 0.1}]}
  for alpha, distance in ((0.6, 0.9), (0.8, 0.6), (0.9, 0.4)):
    runs[f'alpha {alpha}'] = [{**good, 'distance': distance}]
  runs['alpha 0.8'][0]['adapted'] = adapted
  verdicts = [q.verdict for q in reproduce._of_control(runs)]
  assert set(verdicts) == {'ok', '-'}
  for name, wrong in (
    ('alpha 0.8', {'worst_value_ratio': 0.74}),
    ('alpha 0.8', {'adapted': worse}),
    ('no diversity', {'distance': 0.14}),
    ('alpha 0.6', {'distance': 0.59}),
  ):
    changed = {**runs, name: [{**runs[name][0], **wrong}]}
    verdicts = [q.verdict for q in reproduce._of_control(changed)]
    assert verdicts.count('MISSED') == 1, name


def test_the_sea_must_be_crossed_with_the_bonus_and_not_without():
  runs = {
    'weight 0': [{'final': 0.99}, *[{'final': -0.01}] * 4],
    'weight 1': [*[{'final': 0.99}] * 4, {'final': 0.0}],
  }
  verdicts = [found.verdict for found in reproduce.deep_sea_quantities(runs)]
  assert verdicts == ['ok', '-', 'ok', '-']
  worse = {**runs, 'weight 1': runs['weight 1'][1:] + runs['weight 0'][1:2]}
  assert reproduce.deep_sea_quantities(worse)[2].verdict == 'MISSED'
  found = {**runs, 'weight 0': runs['weight 1']}
  assert reproduce.deep_sea_quantities(found)[0].verdict == 'MISSED'


def test_returns_are_those_of_episodes_of_the_world():
  variant = reproduce.Variant(
    agent='muesli',
    environment='classic:deep_sea',
    settings=(
      ('skill_length', 2),
      ('batch_size', 4),
      ('learner.model.size', 4),
      ('learner.num_unrolled', 1),
    ),
    num_updates=50,
    options=(('size', 2),),
  )
  found = reproduce.train_for_return(variant, 0)
  assert found['updates'][-1] == 50
  # Nobody who evaluates draws actions: right twice, once or never.
  possible = np.array([1 - 0.01, -0.005, 0.0])
  for value in found['curve']:
    assert np.abs(possible - value).min() < 1e-6
  assert found['mean'] == pytest.approx(np.mean(found['curve']))
  assert found['final'] == pytest.approx(np.mean(found['curve'][-5:]))


def test_a_control_set_is_trained_again_only_if_unfinished_or_changed(
  tmp_path, monkeypatch
):
  received = None
  trained = []

  def run(experiment):
    assert experiment_lib.load(experiment.output_dir) == experiment
    trained.append(experiment.config.objective.alpha)
    if received is None:
      folder = pathlib.Path(experiment.output_dir)
      results.write_json(folder / results.SUMMARY_FILE, {})
    return commands.Outcome({}, received)

  def train(alpha):
    return reproduce._control_set(
      'a set', 0, 'domino', {'objective.alpha': alpha}
    )

  monkeypatch.setattr(local, 'run', run)
  with flagsaver.flagsaver(reproduce_dir=str(tmp_path)):
    received = signal.SIGINT
    with pytest.raises(SystemExit) as stopped:
      train(0.8)
    assert stopped.value.code == 130
    received = None
    assert (
      train(0.8) == train(0.8) == str(tmp_path / 'domino_control' / 'a-set-0')
    )
    assert trained == [0.8, 0.8]
    train(0.7)
  assert trained == [0.8, 0.8, 0.7]
