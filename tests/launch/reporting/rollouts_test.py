"""Tests of launch/reporting/rollouts.py."""

import dm_env
import jax
import numpy as np
import pytest

from launch.reporting import rollouts
from skills import acting
from skills import loading
from tests import runs

ENVIRONMENT = 'control:point_mass_easy'  # In which small errors stay small.
# Episodes of 20 steps, of which a skill has 7.
OPTIONS = {'action_repeat': 50}
SETTINGS = {
  'num_skills': 3,
  'skill_length': 7,
  'network.hidden_sizes': '8',
  'objective.discriminator.hidden_sizes': '8',
}


@pytest.fixture(scope='module')
def run(tmp_path_factory):
  """A run's experiment and its skills."""
  folder = tmp_path_factory.mktemp('runs') / 'skills'
  experiment = runs.write_run(
    folder,
    agent='diayn',
    environment=ENVIRONMENT,
    settings=SETTINGS,
    options=OPTIONS,
  )
  return experiment, loading.load(folder)


def player_of(trained, seed, **rest):
  return rollouts.Player(trained.agent, trained.variables, seed, **rest)


def by_hand(trained, environment, policy, episode, seed):
  """One policy in one episode, one step after the other."""
  key = jax.random.fold_in(jax.random.PRNGKey(seed), episode)
  state = trained.init(key, policy)
  select_action = jax.jit(trained.select_action)
  timestep = environment.reset()
  observations, rewards = [timestep.observation], []
  while not timestep.last():
    action, state = select_action(
      trained.variables, timestep.observation, state
    )
    state = acting.with_skill(state, policy)
    timestep = environment.step(np.asarray(action))
    observations.append(timestep.observation)
    rewards.append(timestep.reward)
  return np.stack(observations), np.array(rewards)


@pytest.mark.parametrize('side_by_side', [64, 3])
def test_policies_do_what_they_do_alone(monkeypatch, run, side_by_side):
  monkeypatch.setattr(rollouts, '_SIDE_BY_SIDE', side_by_side)
  experiment, trained = run
  player = player_of(trained, seed=5, greedy=True)
  assert player.num_policies == 3
  policies, episodes = [2, 0], [4, 1]
  played = player.play(experiment.make_environment, policies, episodes)
  assert [len(own) for own in played] == [2, 2]
  for i, policy in enumerate(policies):
    for j, episode in enumerate(episodes):
      observations, rewards = by_hand(
        trained, experiment.make_environment(episode), policy, episode, 5
      )
      assert len(rewards) == 20
      ours = played[i][j]
      # Compiled for several at once, actions may differ in the last bit.
      np.testing.assert_allclose(ours.observation, observations, atol=1e-3)
      np.testing.assert_allclose(ours.reward, rewards, atol=1e-3)
      assert ours.total == pytest.approx(rewards.sum(), abs=1e-2)
      assert ours.film is None


def test_policies_act_as_they_learned_unless_they_are_greedy(run):
  experiment, trained = run
  seen = {}
  for greedy in (False, True):
    for seed in (0, 1):
      player = player_of(trained, seed, greedy=greedy)
      [[episode]] = player.play(experiment.make_environment, [1], [0])
      seen[greedy, seed] = episode.observation
  # The environment is the same: only drawn actions depend on the player's seed.
  np.testing.assert_array_equal(seen[True, 0], seen[True, 1])
  assert np.abs(seen[False, 0] - seen[False, 1]).max() > 1e-3
  assert np.abs(seen[False, 0] - seen[True, 0]).max() > 1e-3


def test_all_policies_begin_an_episode_alike(run):
  experiment, trained = run
  played = player_of(trained, seed=0).play(
    experiment.make_environment, [0, 1, 2], [0, 1]
  )
  for j in range(2):
    for own in played[1:]:
      np.testing.assert_array_equal(
        own[j].observation[0], played[0][j].observation[0]
      )
  first, second = played[0]
  assert (first.observation[0] != second.observation[0]).any()
  # And then they differ, or there would be nothing to see here.
  assert (
    np.abs(played[0][0].observation - played[1][0].observation).max() > 0.01
  )


class Countdown(dm_env.Environment):
  """Ends after some steps, each of which pays 1; no step follows them."""

  def __init__(self, environment, num_steps):
    self._environment = environment
    self._left = num_steps
    self.is_closed = False

  def reset(self):
    return self._environment.reset()

  def step(self, action):
    assert self._left > 0
    self._left -= 1
    timestep = self._environment.step(action)._replace(reward=1.0)
    if self._left:
      return timestep
    return timestep._replace(step_type=dm_env.StepType.LAST)

  def observation_spec(self):
    return self._environment.observation_spec()

  def action_spec(self):
    return self._environment.action_spec()

  def close(self):
    self.is_closed = True


def test_episodes_end_when_they_end_and_worlds_are_closed(run):
  experiment, trained = run
  environments = []

  def make(episode):
    environments.append(Countdown(experiment.make_environment(0), episode))
    return environments[-1]

  played = player_of(trained, seed=0).play(make, [1, 2], [3, 1, 5])
  for own in played:
    assert [episode.total for episode in own] == [3, 1, 5]
    assert [len(episode.observation) for episode in own] == [4, 2, 6]
  assert len(environments) == 6
  assert all(environment.is_closed for environment in environments)


def test_a_film_has_its_frames_at_equal_distances(run):
  experiment, trained = run
  environment = experiment.make_environment(0)
  environment.reset()
  try:
    picture = environment.picture(24, 32)
  except Exception as error:  # Whatever a machine without a renderer raises.
    pytest.skip(f'nothing can draw here: {error}')
  camera = rollouts.Camera(frames=5, height=24, width=32)
  [[episode]] = player_of(trained, seed=0).play(
    experiment.make_environment, [1], [0], camera
  )
  assert episode.film.every == 4
  assert episode.film.frames.shape == (6, 24, 32, 3)
  np.testing.assert_array_equal(episode.film.frames[0], picture)
  # What the environment looked like when it had come to the last of them.
  [[again]] = player_of(trained, seed=0).play(
    experiment.make_environment, [1], [0]
  )
  np.testing.assert_array_equal(again.observation, episode.observation)
  assert (episode.film.frames[-1] != episode.film.frames[0]).any()
