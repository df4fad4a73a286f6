"""Tests of launch/reproductions/rvic.py."""

import pathlib

import pytest

from launch.reproductions import parallel
from launch.reproductions import rvic as rvic_lib
from launch.reproductions import training

REQUEST = parallel.Request(
  seeds=(0, 1), processes=1, folder=pathlib.Path('unused')
)


def fake_runs(monkeypatch, **by_agent):
  """Gives every run of an agent the same numbers."""

  def train_all(variants, request, train_one):
    assert train_one is rvic_lib.train_and_measure
    return {name: [by_agent[name] for _ in request.seeds] for name in variants}

  monkeypatch.setattr(training, 'train_all', train_all)


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
def test_open_grid_bars_are_on_information_of_pair_and_final_state(
  monkeypatch, rvic, vic, missed
):
  fake_runs(
    monkeypatch,
    rvic=numbers(*rvic),
    vic_final=numbers(vic, 3.0),
    vic_pair=numbers(0.0, 0.0),
  )
  quantities, _ = rvic_lib.open_grid(REQUEST)
  verdicts = [quantity.verdict for quantity in quantities]
  assert verdicts.count('MISSED') == missed
  assert verdicts.count('ok') == 3 - missed


@pytest.mark.parametrize(
  ('displacement', 'final', 'pair', 'missed'),
  [(1.31, 499, 499, 0), (1.29, 499, 499, 1), (1.31, 501, 501, 2)],
)
def test_factored_grid_bars_are_on_displacement_and_twice_the_states(
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
  quantities, _ = rvic_lib.factored_grid(REQUEST)
  verdicts = [quantity.verdict for quantity in quantities]
  assert verdicts.count('MISSED') == missed
  assert verdicts.count('ok') == 3 - missed


def test_information_is_of_chained_skills_in_the_last_tenth(monkeypatch):
  monkeypatch.setattr(rvic_lib, '_COUNTED_SKILLS', 1600)
  steps = rvic_lib._StepSizes(0.05, 0.02)
  variant = rvic_lib._variant('vic_pair', 'grid:open_11', steps, 100)
  found = rvic_lib.train_and_measure(variant, seed=3)
  assert found['updates'] == [92, 94, 96, 98, 100]
  states = [row['effective_states'] for row in found['curve']]
  assert len(set(states)) == 5
  assert found['effective_states'] == pytest.approx(sum(states) / 5)
  assert 1 < found['effective_states'] < 121
  # A value moves by 2 rate / B of its error, a logit by rate / B.
  settings = dict(variant.settings)
  assert settings['learner.learning_rate'] == pytest.approx(0.05 * 16 / 2)
  rate = settings['objective.discriminator.learning_rate']
  assert rate == pytest.approx(0.02 * 16)
  assert settings['objective.sees_start'] is True


def test_controllers_with_and_without_skills_make_equally_many_steps():
  variant = training.Variant(
    agent='vic',
    environment='grid:open_41',
    settings=(('skill_length', 10), ('batch_size', 2)),
    num_updates=100,
  )
  with_skills = rvic_lib.successes(variant, 0, num_steps=500)
  assert len(with_skills['of_each_goal']) == 32
  # Of 8 skills of 10 steps and 5 primitives, one choice takes 85 / 13 = 6.5
  # steps while actions are uniform.
  assert 500 / 9 < with_skills['choices'] < 500 / 5
  alone = rvic_lib.successes(None, 0, num_steps=500)
  assert alone['choices'] == 500
  for found in (with_skills, alone):
    # The goals are 20 steps or more away.
    assert max(found['of_each_goal']) <= 25
    mean = sum(found['of_each_goal']) / 32
    assert found['successes'] == pytest.approx(mean)
