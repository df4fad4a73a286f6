"""Tests of skills/objectives/extrinsic.py, and of returns that go on."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from skills import config as config_lib
from skills import registry
from skills import types
from skills.learners import q_learning
from skills.objectives import base
from skills.objectives import extrinsic
from skills.objectives import vic
from tests import problems

KEY = jax.random.PRNGKey(0)


def make(**settings):
  return problems.compiled(
    registry.make_objective(
      extrinsic.ExtrinsicConfig(**settings), problems.TABLE, 1
    )
  )


def test_it_pays_what_the_environment_pays_and_nothing_for_padding():
  batch = problems.trajectory(problems.TABLE)
  objective = make(scale=2.0)
  rewards = objective.reward(objective.init(KEY), batch)
  assert rewards.shape == (*batch.mask.shape, 1)
  for b, length in enumerate(problems.LENGTHS):
    np.testing.assert_allclose(
      rewards[:length, b, 0], 2 * batch.reward[:length, b]
    )
    assert not np.any(rewards[length:, b])


def test_it_learns_nothing_and_has_no_skills_to_tell_apart():
  objective = make()
  state = objective.init(KEY)
  after, metrics = objective.update(
    state, problems.trajectory(problems.TABLE), KEY
  )
  assert after == state
  assert metrics == {}
  assert objective.discriminator is None
  assert objective.streams == (extrinsic.STREAM,)
  chex.assert_trees_all_equal(objective.weights(state), jnp.ones(1))


def test_returns_that_go_on_cannot_be_added_to_those_that_do_not():
  skill = problems.compiled(
    registry.make_objective(vic.VicConfig(), problems.TABLE, 4)
  )
  with pytest.raises(ValueError, match="past a skill's end for both"):
    base.add(skill, make())
  assert base.add(
    make(), make()._replace(streams=('other',))
  ).bootstrap_at_skill_end


# A ring of four states: action 1 moves on, action 0 stays. To come to state 3
# pays 1. In state 3 action 0 ends the episode.
RING = types.ProblemSpec(
  observation_shape=(), observation_dtype='int32', num_states=4, num_actions=2
)
GAMMA = 0.9


def ring(state, action):
  following = (state + action) % 4
  ends = state == 3 and action == 0
  pays = following == 3 and action == 1
  return following, float(pays), 0.0 if ends else 1.0


def optimal_values():
  values = np.zeros((4, 2))
  for _ in range(500):
    new = np.zeros_like(values)
    for state in range(4):
      for action in range(2):
        following, reward, discount = ring(state, action)
        new[state, action] = reward + GAMMA * discount * values[following].max()
    values = new
  return values


def every_item(length, cut):
  """Items of `cut` real steps of `length`, by greedy steps after any first."""
  rows = []
  for start in range(4):
    for first in range(2):
      observation, rest = [start], []
      state = start
      for t in range(cut):
        action = first if t == 0 else 1
        state, reward, discount = ring(state, action)
        rest.append((action, reward, discount, 1.0))
        observation.append(state)
        if discount == 0:
          break
      missing = length - len(rest)
      rows.append(
        (observation + [0] * missing, rest + [(0, 5.0, 1.0, 0.0)] * missing)
      )
  observation = np.array([row[0] for row in rows], np.int32).T
  steps = np.array([row[1] for row in rows], np.float32).transpose(2, 1, 0)
  action, reward, discount, mask = steps
  return types.Trajectory(
    observation=jnp.asarray(observation),
    action=jnp.asarray(action, jnp.int32),
    reward=jnp.asarray(reward),
    discount=jnp.asarray(discount),
    skill=jnp.zeros(action.shape, jnp.int32),
    mask=jnp.asarray(mask),
  )


@pytest.mark.parametrize(
  ('length', 'cut'),
  [
    (1, 1),
    (3, 3),
    # An episode that was cut off within the item, which is not its end.
    (4, 2),
  ],
)
@pytest.mark.parametrize('lambda_', [0.0, 0.7])
def test_values_are_those_of_an_environment_without_items(length, cut, lambda_):
  agent = registry.make_agent(
    config_lib.SkillAgentConfig(
      objective=extrinsic.ExtrinsicConfig(),
      num_skills=1,
      skill_length=length,
      learner=q_learning.QLearningConfig(
        discount=GAMMA, lambda_=lambda_, learning_rate=0.2
      ),
    ),
    RING,
  )
  batch = every_item(length, cut)

  def train(state):
    return jax.lax.fori_loop(
      0, 4000, lambda _, s: agent.learner.update(s, batch)[0], state
    )

  state = jax.jit(train)(agent.learner.init(KEY))
  values = problems.content(state.params).reshape(4, 2)
  np.testing.assert_allclose(values, optimal_values(), atol=1e-3)


def test_an_agent_that_tells_skills_apart_needs_two():
  with pytest.raises(ValueError, match='num_skills must be >= 2'):
    registry.make_agent(
      config_lib.SkillAgentConfig(objective=vic.VicConfig(), num_skills=1),
      problems.TABLE,
    )
