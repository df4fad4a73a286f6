"""Evaluations record what was done, and measure it by hand-made truths."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from envs import batched
from envs import factory
from skills.agents import acme_api
from skills.agents import builder as builder_lib
from skills.agents import evaluation
from skills.agents import learning
from skills.objectives import base
from tests.programs import counting

pytestmark = pytest.mark.integration

T = counting.SKILL_LENGTH
K = counting.NUM_SKILLS


def test_the_recorder_keeps_whole_chained_and_cut_skills_as_they_were():
  recorder = evaluation.Recorder(T)
  witness = counting.Witness(recorder)
  lengths = [T, 2 * T, 1, T - 1, 3 * T + 2]
  loop = counting.make_actor(
    counting.make_config(), counting.CountingEnvironment(lengths), witness
  )
  loop.run(num_episodes=2 * len(lengths))
  written = witness.skills(T)
  trajectory = recorder.trajectory()
  assert counting.read(trajectory) == written
  assert trajectory.observation.shape == (T + 1, len(written), 2)
  np.testing.assert_array_equal(
    trajectory.mask.sum(axis=0), [len(steps) for steps in written]
  )
  # Real steps fill a prefix.
  assert np.all(np.diff(trajectory.mask, axis=0) <= 0)
  for name in ('action', 'skill'):
    assert getattr(trajectory, name).dtype == np.int32
  for name in ('observation', 'reward', 'discount', 'mask'):
    assert getattr(trajectory, name).dtype == np.float32

  recorder.clear()
  witness.episodes.clear()
  loop.run(num_episodes=1)
  assert counting.read(recorder.trajectory()) == witness.skills(T)


def hand_made(agent, logits, view=base.FINAL_STEP):
  """The agent, with discriminators of one's own."""
  return agent._replace(
    objective=agent.objective._replace(
      reward=lambda state, trajectory: trajectory.mask[..., None],
      discriminator=base.Discriminator(logits, view),
    )
  )


class Source:
  """A learner that stands still; its objective's state is a number."""

  def __init__(self, agent, number=0.0):
    state = agent.learner.init(jax.random.PRNGKey(0))
    self.variables = {
      learning.POLICY: agent.learner.variables(state),
      learning.OBJECTIVE: jnp.asarray(number),
    }

  def get_variables(self, names):
    return [self.variables[name] for name in names]


def make_evaluator(agent, environment, source):
  return evaluation.Evaluator(
    agent,
    builder_lib.SkillBuilder(agent.config),
    environment,
    source,
    jax.random.PRNGKey(0),
  )


@pytest.fixture(scope='module')
def agent():
  return builder_lib.make_agent(counting.make_config(), counting.SPEC)


def naming_rightly_with(probability):
  """Log-probabilities that give so much to the skill that was run."""

  def logits(state, trajectory):
    del state
    skill = base.FINAL_STEP.select(trajectory).skill
    right = jax.nn.one_hot(skill, K)
    others = (1 - probability) / (K - 1)
    return jnp.log(right * probability + (1 - right) * others)[None]

  return logits


@pytest.mark.parametrize(
  'probability, learned',
  [
    (0.2, 1.0),  # Chance, for 5 skills: exp(log 1/5 + log 5).
    (0.5, 2.5),  # exp(log 1/2 + log 5).
    (0.99999, 5.0),
    (0.04, 0.2),  # Worse than chance, and not clipped.
  ],
)
def test_skills_learned_follow_from_what_the_discriminators_say(
  agent, probability, learned
):
  agent = hand_made(agent, naming_rightly_with(probability))
  evaluator = make_evaluator(
    agent, counting.CountingEnvironment([T]), Source(agent)
  )
  _, numbers = evaluator.run(8)
  assert numbers['skills_learned'] == pytest.approx(learned, rel=1e-3)


def test_returns_and_lengths_are_those_of_the_environment(agent):
  evaluator = make_evaluator(
    hand_made(agent, naming_rightly_with(0.5)),
    counting.CountingEnvironment([4, 8]),
    Source(agent),
  )
  trajectory, numbers = evaluator.run(2)
  # Rewards 1..4 in episode 0, 101..108 in episode 1.
  assert numbers['episode_return'] == (1 + 2 + 3 + 4 + 8 * 100 + 36) / 2
  assert numbers['episode_length'] == 6
  assert evaluator.num_episodes == 2
  # Three skills of one and two episodes.
  assert numbers['skill_return'] == pytest.approx((10 + 836) / 3)
  assert trajectory.mask.sum() == 12
  # Observations are no states, so nothing is covered.
  assert 'coverage' not in numbers
  assert all(type(number) is float for number in numbers.values())


def test_an_evaluation_has_as_many_episodes_as_hold_the_skills_asked_for(agent):
  evaluator = make_evaluator(
    hand_made(agent, naming_rightly_with(0.5)),
    counting.CountingEnvironment([4, 8]),
    Source(agent),
  )
  # Episodes hold one skill and two, in turns; none is cut short.
  for asked, episodes, skills in (
    ((1, 1), 1, 1),
    ((1, 2), 1, 2),
    ((1, 2), 2, 3),
    ((3, 1), 3, 4),
  ):
    trajectory, numbers = evaluator.run(*asked)
    assert evaluator.num_episodes == episodes
    assert trajectory.mask.shape[1] == skills


def test_an_evaluation_is_of_the_newest_variables_and_of_its_own_episodes(
  agent,
):
  def logits(state, trajectory):
    # Sure of skill 0 if the state is 1, of none if it is 0.
    num = trajectory.mask.shape[1]
    return jnp.broadcast_to(
      jnp.log(jnp.where(state > 0, jnp.eye(K)[0] + 1e-9, 1 / K)), (1, 1, num, K)
    )

  agent = hand_made(agent, logits)
  source = Source(agent)
  evaluator = make_evaluator(agent, counting.CountingEnvironment([T]), source)
  first, numbers = evaluator.run(3)
  assert numbers['skills_learned'] == pytest.approx(1.0)

  # From now on the policy prefers the last action wherever it is.
  variables = source.variables[learning.POLICY]
  flat, structure = jax.tree.flatten(variables.params)
  ends_in_values = [
    jnp.arange(x.size, dtype=x.dtype).reshape(x.shape) if x.ndim == 1 else 0 * x
    for x in flat
  ]
  source.variables = {
    learning.POLICY: variables._replace(
      params=jax.tree.unflatten(structure, ends_in_values)
    ),
    learning.OBJECTIVE: jnp.asarray(1.0),
  }
  second, numbers = evaluator.run(3)
  assert second.mask.shape == first.mask.shape
  assert np.all(second.observation[0, :, 0] == [3, 4, 5])
  # From the very first step on.
  assert np.all(second.action == counting.NUM_ACTIONS - 1)
  assert numbers['skills_learned'] != pytest.approx(1.0)


def test_coverage_is_the_share_of_states_that_were_entered():
  environment = factory.make('grid:disdain_release')
  spec = acme_api.specs.make_environment_spec(environment)
  config = counting.make_config(skill_length=8)
  agent = builder_lib.make_agent(config, spec)
  state = agent.learner.init(jax.random.PRNGKey(0))
  source = Source(agent)
  source.variables[learning.OBJECTIVE] = state.objective
  evaluator = make_evaluator(agent, environment, source)
  trajectory, numbers = evaluator.run(4)
  visited = set(trajectory.observation[1:].ravel().tolist())
  num_states = environment.mdp.num_states
  assert numbers['coverage'] == pytest.approx(len(visited) / num_states)


def test_objectives_without_discriminators_have_no_skills_to_count(agent):
  agent = hand_made(agent, None)
  agent = agent._replace(objective=agent.objective._replace(discriminator=None))
  evaluator = make_evaluator(
    agent, counting.CountingEnvironment([T]), Source(agent)
  )
  _, numbers = evaluator.run(2)
  assert 'skills_learned' not in numbers
  assert 'episode_return' in numbers


class Rooms(acme_api.EnvLoopObserver):
  """Counts episodes twice: what is of one, and what is of all."""

  episodes = 0

  def observe_first(self, env, timestep):
    self.episodes += 1

  def observe(self, env, timestep, action):
    pass

  def get_metrics(self):
    return {'episode_rooms': self.episodes, 'lifetime_rooms': self.episodes}


def test_metrics_of_observers_are_averaged_or_kept(agent):
  agent = hand_made(agent, naming_rightly_with(0.5))
  evaluator = evaluation.Evaluator(
    agent,
    builder_lib.SkillBuilder(agent.config),
    counting.CountingEnvironment([1]),
    Source(agent),
    jax.random.PRNGKey(0),
    [Rooms()],
  )
  _, numbers = evaluator.run(3)
  assert numbers['episode_rooms'] == 2.0
  assert numbers['lifetime_rooms'] == 3.0


def test_side_by_side_each_environment_gives_one_episode_of_a_round(agent):
  # The first one's episodes are short, and are not more for that.
  environment = batched.Serial(
    [counting.CountingEnvironment(lengths) for lengths in ([1], [2 * T], [T])]
  )
  agent = hand_made(agent, naming_rightly_with(0.5))
  evaluator = make_evaluator(agent, environment, Source(agent))
  for num_episodes, returns, skills in (
    (3, [1, 36, 10], [[1], [T, T], [T]]),
    (2, [1, 36], [[1], [T, T]]),
  ):
    trajectory, numbers = evaluator.run(num_episodes)
    assert evaluator.num_episodes == num_episodes
    lengths = trajectory.mask.sum(axis=0).tolist()
    assert lengths == [length for each in skills for length in each]
    # Rewards are 100 an episode more than the step's number.
    episode = trajectory.observation[0, :, 0]
    assert numbers['episode_length'] == pytest.approx(
      sum(lengths) / num_episodes
    )
    whole = np.sum(trajectory.reward * trajectory.mask, axis=0)
    steps = trajectory.mask.sum(axis=0)
    whole -= 100 * episode * steps
    assert whole.sum() == sum(returns)
    assert numbers['skills_learned'] == pytest.approx(2.5, rel=1e-3)
  # As many skills as were asked for, in whole episodes.
  trajectory, _ = evaluator.run(1, 5)
  assert evaluator.num_episodes == 4
  assert trajectory.mask.shape == (T, 1 + 2 + 1 + 1)
