"""Tests of skills/objectives/rvic.py, and of VIC on the pair."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from skills import registry
from skills.evaluation import metrics
from skills.learners import base as learners
from skills.learners import q_learning
from skills.networks import discriminators
from skills.networks import q_networks
from skills.networks import torsos
from skills.objectives import base
from skills.objectives import disdain
from skills.objectives import rvic
from skills.objectives import vic
from tests import oracles
from tests import problems

K = problems.NUM_SKILLS
S = problems.TABLE.num_states
KEY = jax.random.PRNGKey(0)


def make(config_class=rvic.RvicConfig, problem=problems.TABLE, **settings):
  fields = {'sees_start': True} if config_class is vic.VicConfig else {}
  return problems.compiled(
    registry.make_objective(
      config_class(
        discriminator=discriminators.DiscriminatorConfig(**settings), **fields
      ),
      problem,
      K,
    )
  )


def with_posteriors(objective, of_pairs, of_ends):
  """A state of RVIC whose classifiers give these probabilities.

  Args:
    objective: RVIC of tables, one member each.
    of_pairs: q_rel, `[S, S, K]`, by where a skill began and where it ended.
    of_ends: q_abs, `[S, K]`.
  """
  state = objective.init(KEY)

  def fill(state, probabilities):
    logits = np.log(np.maximum(probabilities, 1e-30)).reshape(1, -1, K)
    return state._replace(params=problems.fill(state.params, logits))

  return rvic.State(
    fill(state.relative, of_pairs), fill(state.absolute, of_ends)
  )


def uniform(*shape):
  return np.full((*shape, K), 1 / K)


def test_the_reward_is_the_log_ratio_of_the_two_classifiers():
  # From state 1 to 3, q_rel gives skill 2 the probability 1/2 and q_abs 1/8:
  # log 4. From 0 to 3 q_rel gives 1/4: log 2. Nothing is added for K = 4.
  of_pairs, of_ends = uniform(S, S), uniform(S)
  of_pairs[1, 3] = [1 / 6, 1 / 6, 1 / 2, 1 / 6]
  of_ends[3] = [2 / 8, 3 / 8, 1 / 8, 2 / 8]
  objective = make()
  state = with_posteriors(objective, of_pairs, of_ends)
  batch = problems.ending_in(problems.TABLE, [2, 2, 2], [3, 3, 1], [1, 0, 3])
  np.testing.assert_allclose(
    objective.reward(state, batch)[0, :, 0],
    # The order of the pair matters: from 3 to 1 nothing is known.
    [np.log(4), np.log(2), 0.0],
    atol=1e-6,
  )


def test_a_skill_that_its_end_gives_away_costs_and_is_not_clipped():
  # q_rel 1/8, q_abs 1/2: -log 4.
  of_pairs, of_ends = uniform(S, S), uniform(S)
  of_pairs[0, 5] = [1 / 8, 3 / 8, 1 / 4, 1 / 4]
  of_ends[5] = [1 / 2, 1 / 6, 1 / 6, 1 / 6]
  objective = make()
  state = with_posteriors(objective, of_pairs, of_ends)
  batch = problems.ending_in(problems.TABLE, [0], [5])
  np.testing.assert_allclose(
    objective.reward(state, batch), [[[-np.log(4)]]], rtol=1e-5
  )
  _, reported = objective.update(state, batch, KEY)
  np.testing.assert_allclose(reported['skill_reward'], -np.log(4), rtol=1e-5)
  np.testing.assert_allclose(reported['relative_loss'], np.log(8), rtol=1e-5)
  np.testing.assert_allclose(reported['absolute_loss'], np.log(2), rtol=1e-5)
  assert (reported['relative_accuracy'], reported['absolute_accuracy']) == (
    0,
    1,
  )


def test_it_is_paid_at_the_last_step_from_the_first_state_and_the_last():
  objective = make()
  state = objective.init(KEY)
  batch = problems.trajectory(problems.TABLE)
  of_pairs = problems.content(state.relative.params).reshape(S, S, K)
  of_ends = problems.content(state.absolute.params)[0]
  expected = np.zeros(batch.mask.shape)
  for b, length in enumerate(problems.LENGTHS):
    first, last = (int(batch.observation[t, b]) for t in (0, length))
    skill = int(batch.skill[0, b])
    relative = oracles.softmax(of_pairs[first, last].tolist())[skill]
    absolute = oracles.softmax(of_ends[last].tolist())[skill]
    expected[length - 1, b] = np.log(relative / absolute)
  np.testing.assert_allclose(
    objective.reward(state, batch)[..., 0], expected, atol=1e-5
  )


# How often each skill led from each state to each, [K, S, S]: at random, and
# never to some places.
JOINT = np.random.default_rng(0).integers(0, 4, (K, S, S))


def posteriors(joint):
  """Bayes: p(z|s_0, s_T) and p(z|s_T)."""
  of_pairs = np.moveaxis(joint, 0, -1) + 0.0
  of_ends = of_pairs.sum(0)
  return tuple(
    counts / np.maximum(counts.sum(-1, keepdims=True), 1)
    for counts in (of_pairs, of_ends)
  )


def batch_of(joint):
  """A batch in which everything happens as often as it is said."""
  cells = np.repeat(np.argwhere(joint), joint[joint > 0], axis=0)
  skills, starts, ends = cells.T
  return problems.ending_in(problems.TABLE, skills, ends, starts)


def conditional_information(joint):
  """I(Z; s_0 | s_T) in nats, from its definition."""
  p = joint / joint.sum()
  total = 0.0
  for (z, first, last), p_all in np.ndenumerate(p):
    if p_all > 0:
      p_last = p[:, :, last].sum()
      total += p_all * np.log(
        p_all * p_last / (p[z, :, last].sum() * p[:, first, last].sum())
      )
  return total


def test_with_the_true_posteriors_the_mean_is_the_conditional_information():
  objective = make()
  state = with_posteriors(objective, *posteriors(JOINT))
  mean = jnp.mean(objective.reward(state, batch_of(JOINT)))
  np.testing.assert_allclose(mean, conditional_information(JOINT), rtol=1e-4)
  # Which is the difference of what pair and end tell.
  counts = JOINT.reshape(K, -1), JOINT.sum(1)
  of_pair, of_end = map(metrics.mutual_information, counts)
  np.testing.assert_allclose(mean / np.log(2), of_pair - of_end, rtol=1e-4)


def trained(objective, batch, num_updates=2000):
  def train(state):
    return jax.lax.fori_loop(
      0, num_updates, lambda _, s: objective.update(s, batch, KEY)[0], state
    )

  return jax.jit(train)(objective.init(KEY))


def test_trained_classifiers_find_the_conditional_information():
  objective, batch = make(learning_rate=8.0), batch_of(JOINT)
  rewards = objective.reward(trained(objective, batch), batch)
  np.testing.assert_allclose(
    jnp.mean(rewards), conditional_information(JOINT), rtol=0.02
  )


def test_from_a_fixed_start_there_is_nothing_to_earn():
  # However well ends tell skills apart: each classifier then knows the same.
  joint = np.zeros((K, S, S), int)
  joint[:, 2] = JOINT[:, 2] + 5 * np.eye(K, S, dtype=int)
  objective, batch = make(learning_rate=5.0), batch_of(joint)
  state = trained(objective, batch)
  # By skill and end, and not on average only.
  np.testing.assert_allclose(objective.reward(state, batch), 0.0, atol=0.01)
  assert objective.discriminator.logits(state, batch).std() > 0.5
  # VIC on the pair is paid for it.
  pair_vic = make(vic.VicConfig, learning_rate=5.0)
  assert jnp.mean(pair_vic.reward(trained(pair_vic, batch), batch)) > 0.2


def test_the_classifiers_share_data_and_rate_and_nothing_else():
  objective = make(learning_rate=0.6)
  before = objective.init(KEY)
  batch = problems.ending_in(problems.TABLE, [3], [4], [1])
  after, _ = objective.update(before, batch, KEY)
  # Each moves the row that was seen by the rate times its own error, and no
  # other: q_rel that of the pair (1, 4), 1 * S + 4; q_abs that of 4.
  for name, row in (('relative', S + 4), ('absolute', 4)):
    logits = problems.content(getattr(before, name).params)[0]
    expected = logits.copy()
    expected[row] += 0.6 * (
      np.eye(K)[3] - oracles.softmax(logits[row].tolist())
    )
    np.testing.assert_allclose(
      problems.content(getattr(after, name).params)[0], expected, rtol=1e-5
    )
  first, second = (problems.content(part.params) for part in before)
  assert not np.any(np.isin(first, second))


def test_learning_to_be_paid_leaves_the_classifiers_alone():
  # The learner's own step changes the objective exactly as its update does:
  # nothing flows back from the values' loss.
  objective = make()
  network = q_networks.make(
    torsos.NetworkConfig(), problems.TABLE, K, len(objective.streams)
  )
  learner = q_learning.make(q_learning.QLearningConfig(), network, objective)
  state = learner.init(KEY)
  batch = problems.trajectory(problems.TABLE)
  after, _ = learner.update(state, batch)
  expected, _ = objective.update(state.objective, batch, KEY)
  np.testing.assert_array_equal(
    problems.content(after.objective.absolute.params),
    problems.content(expected.absolute.params),
  )
  # And the value of a skill's last step is its reward alone: the discount is
  # cut there, though the episode goes on.
  discounts = learners.discounts(
    batch.discount,
    batch.mask,
    0.99,
    bootstrap_at_skill_end=objective.bootstrap_at_skill_end,
  )
  for b, length in enumerate(problems.LENGTHS):
    np.testing.assert_allclose(
      discounts[:, b], 0.99 * (np.arange(problems.NUM_STEPS) < length - 1)
    )


@pytest.mark.parametrize('config_class', [rvic.RvicConfig, vic.VicConfig])
def test_disdain_s_bonus_is_the_disagreement_about_the_pair(config_class):
  fields = {'sees_start': True} if config_class is vic.VicConfig else {}
  over = config_class(
    discriminator=discriminators.DiscriminatorConfig(ensemble_size=2), **fields
  )
  objective = problems.compiled(
    registry.make_objective(disdain.DisdainConfig(over=over), problems.TABLE, K)
  )
  assert objective.streams == ('skill', 'disdain')
  state = objective.init(KEY)
  of_pairs = state.relative if config_class is rvic.RvicConfig else state
  logits = problems.content(of_pairs.params).reshape(2, S, S, K)
  starts = [0, 1, 5]
  batch = problems.ending_in(problems.TABLE, [0, 0, 0], [4, 4, 4], starts)
  expected = [oracles.disagreement(logits[:, s, 4].tolist()) for s in starts]
  bonus = objective.reward(state, batch)[0, :, 1]
  np.testing.assert_allclose(bonus, expected, atol=1e-6)
  # One end, three starts, three bonuses.
  assert len(np.unique(np.asarray(bonus).round(5))) == 3


def test_vic_on_the_pair_pays_for_what_start_and_end_tell_together():
  # The end alone says nothing; with the start it says everything: skill 0 goes
  # from 0 to 1 and from 1 to 0, skill 1 stays.
  batch = problems.ending_in(
    problems.TABLE, [0, 0, 1, 1], [1, 0, 0, 1], [0, 1, 0, 1]
  )
  pair = make(vic.VicConfig, learning_rate=5.0)
  final = problems.compiled(
    registry.make_objective(
      vic.VicConfig(
        discriminator=discriminators.DiscriminatorConfig(learning_rate=5.0)
      ),
      problems.TABLE,
      K,
    )
  )
  relative = make(learning_rate=5.0)
  for objective, expected in (
    (pair, np.log(4)),
    # Two of four skills remain.
    (final, np.log(2)),
    (relative, np.log(2)),
  ):
    rewards = objective.reward(trained(objective, batch), batch)
    np.testing.assert_allclose(rewards, expected, atol=0.02)


def test_networks_see_both_observations_in_their_order():
  objective = make(
    problem=problems.VECTOR, hidden_sizes=(16,), optimizer='adam',
    learning_rate=0.01,
  )  # fmt: skip
  state = objective.init(KEY)
  batch = problems.trajectory(problems.VECTOR, lengths=(5, 5), num_steps=5)
  pair = base.FINAL_STEP.select(batch)
  swapped = batch._replace(observation=batch.observation[::-1])
  assert not np.allclose(pair.start, pair.observation)
  logits = objective.discriminator.logits(state, batch)
  assert not np.allclose(logits, objective.discriminator.logits(state, swapped))
