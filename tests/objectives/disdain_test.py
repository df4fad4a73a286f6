"""Tests of skills/objectives/disdain.py."""

import chex
import hypothesis
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from skills import registry
from skills.networks import discriminators
from skills.objectives import base
from skills.objectives import counts
from skills.objectives import diayn
from skills.objectives import disdain
from skills.objectives import rnd
from skills.objectives import vic
from tests import oracles
from tests import problems

# Logit of a discriminator that is as good as certain.
SURE = 100.0
K = problems.NUM_SKILLS
S = problems.TABLE.num_states
KEY = jax.random.PRNGKey(0)
PAIR = discriminators.DiscriminatorConfig(ensemble_size=2, learning_rate=4.0)

disagreement = jax.jit(disdain.disagreement)


def make(config):
  return problems.compiled(registry.make_objective(config, problems.TABLE, K))


def logits_strategy(limit):
  return hnp.arrays(
    np.float32, (3, 2, 4), elements=st.floats(-limit, limit, width=32)
  )


def of_probabilities(*members):
  return jnp.log(jnp.array(members))[:, None]  # [N, B=1, K]


def test_two_sure_members_that_contradict_each_other_earn_log_two():
  # Each member has entropy 0 and their mean (1/2, 1/2) has entropy log 2.
  logits = jnp.array([[[SURE, 0.0]], [[0.0, SURE]]])
  np.testing.assert_allclose(disagreement(logits), [np.log(2)], rtol=1e-5)


def test_three_sure_members_and_two_skills():
  # Members have entropy 0, their mean (2/3, 1/3) has
  # 2/3 log(3/2) + 1/3 log 3 = 0.636514.
  logits = jnp.array([[[SURE, 0.0]], [[SURE, 0.0]], [[0.0, SURE]]])
  np.testing.assert_allclose(disagreement(logits), [0.636514], rtol=1e-5)


def test_members_that_lean_to_opposite_sides():
  # H(1/2, 1/2) - H(3/4, 1/4) = 0.693147 - 0.562335
  logits = of_probabilities([0.75, 0.25], [0.25, 0.75])
  np.testing.assert_allclose(disagreement(logits), [0.130812], rtol=1e-4)


def test_probabilities_are_averaged_and_not_logits():
  # H(.7, .3) - (H(.9, .1) + H(.5, .5)) / 2
  #   = 0.610864 - (0.325083 + 0.693147) / 2.
  # Averaged logits are those of (3/4, 1/4): 0.562335 - 0.509115 = 0.053.
  logits = of_probabilities([0.9, 0.1], [0.5, 0.5])
  np.testing.assert_allclose(disagreement(logits), [0.101749], rtol=1e-4)


@pytest.mark.parametrize('size', [1e4, 1e30])
def test_logits_of_any_size_leave_the_bonus_finite(size):
  logits = jnp.array([[[size, 0.0, -size]], [[-size, 0.0, size]]])
  np.testing.assert_allclose(disagreement(logits), [np.log(2)], rtol=1e-5)


@hypothesis.settings(deadline=None, max_examples=50)
@hypothesis.given(logits_strategy(30))
def test_bonus_lies_between_zero_and_log_of_the_smaller_count(logits):
  bonus = disagreement(jnp.asarray(logits))  # [N=3, B=2, K=4]
  assert np.all(bonus >= -1e-4)
  assert np.all(bonus <= np.log(3) + 1e-4)
  # With more members than skills the skills limit it: N=4, K=3.
  bonus = disagreement(jnp.asarray(logits.transpose(2, 1, 0)))
  assert np.all(bonus >= -1e-4)
  assert np.all(bonus <= np.log(3) + 1e-4)


@hypothesis.settings(deadline=None, max_examples=50)
@hypothesis.given(logits_strategy(10))
def test_bonus_is_that_of_its_definition(logits):
  expected = [oracles.disagreement(logits[:, b].tolist()) for b in range(2)]
  np.testing.assert_allclose(
    disagreement(jnp.asarray(logits)), expected, atol=1e-4
  )


@hypothesis.settings(deadline=None, max_examples=50)
@hypothesis.given(logits_strategy(30))
def test_members_that_are_alike_earn_nothing(logits):
  alike = jnp.broadcast_to(jnp.asarray(logits[:1]), logits.shape)
  np.testing.assert_allclose(disagreement(alike), 0.0, atol=1e-4)


@hypothesis.settings(deadline=None, max_examples=50)
@hypothesis.given(
  logits_strategy(30), st.permutations(range(3)), st.permutations(range(4))
)
def test_names_of_members_and_skills_do_not_matter(logits, members, skills):
  renamed = logits[list(members)][..., list(skills)]
  np.testing.assert_allclose(
    disagreement(jnp.asarray(renamed)),
    disagreement(jnp.asarray(logits)),
    atol=1e-4,
  )


@pytest.mark.parametrize('config_class', [vic.VicConfig, diayn.DiaynConfig])
def test_bonus_is_paid_beside_the_skill_reward_at_the_same_timesteps(
  config_class,
):
  over = config_class(discriminator=PAIR, clip_at_zero=False)
  objective = make(disdain.DisdainConfig(over=over, bonus_weight=7.0))
  alone = make(over)
  assert objective.streams == ('skill', 'disdain')
  state = objective.init(KEY)
  chex.assert_trees_all_equal(state, alone.init(KEY))
  np.testing.assert_array_equal(objective.weights(state), [1.0, 7.0])

  batch = problems.trajectory(problems.TABLE)
  rewards = objective.reward(state, batch)
  np.testing.assert_array_equal(
    rewards[..., 0], alone.reward(state, batch)[..., 0]
  )
  # Not weighted, and read off the tables by hand.
  logits = problems.content(state.params)
  expected = np.zeros(batch.mask.shape)
  for b, length in enumerate(problems.LENGTHS):
    paid = range(length) if config_class is diayn.DiaynConfig else [length - 1]
    for t in paid:
      reached = int(batch.observation[t + 1, b])
      expected[t, b] = oracles.disagreement(logits[:, reached].tolist())
  np.testing.assert_allclose(rewards[..., 1], expected, atol=1e-5)


@pytest.mark.parametrize('bootstrap_at_skill_end', [False, True])
def test_returns_go_on_past_a_skill_s_end_as_those_of_the_skill_reward_do(
  bootstrap_at_skill_end,
):
  over = diayn.DiaynConfig(
    discriminator=PAIR, bootstrap_at_skill_end=bootstrap_at_skill_end
  )
  objective = make(disdain.DisdainConfig(over=over))
  assert objective.bootstrap_at_skill_end == bootstrap_at_skill_end


def test_one_ensemble_is_trained_and_as_if_there_were_no_bonus():
  over = vic.VicConfig(discriminator=PAIR)
  batch = problems.trajectory(problems.TABLE)
  alone, with_bonus = make(over), make(disdain.DisdainConfig(over=over))
  state = alone.init(KEY)
  expected, expected_metrics = alone.update(state, batch, KEY)
  actual, metrics = with_bonus.update(state, batch, KEY)
  chex.assert_trees_all_equal(actual, expected)
  assert set(metrics) - set(expected_metrics) == {'disagreement'}
  rewards = with_bonus.reward(state, batch)
  # One moment a skill: the mean over the batch.
  np.testing.assert_allclose(
    metrics['disagreement'], jnp.mean(jnp.sum(rewards[..., 1], 0)), rtol=1e-5
  )


def test_bonus_fades_where_there_are_data_and_stays_where_there_are_none():
  objective = make(
    disdain.DisdainConfig(over=vic.VicConfig(discriminator=PAIR))
  )
  state = objective.init(KEY)
  everywhere = problems.ending_in(problems.TABLE, np.zeros(S), np.arange(S))
  before = objective.reward(state, everywhere)[0, :, 1]
  # Skills 0 and 1 end in states 1 and 2, equally often in either.
  batch = problems.ending_in(problems.TABLE, [0, 1, 0, 1], [1, 1, 2, 2])
  update = jax.jit(objective.update)
  for _ in range(100):
    state, _ = update(state, batch, KEY)
  after = objective.reward(state, everywhere)[0, :, 1]
  seen = np.array([1, 2])
  unseen = np.array([0, 3, 4, 5])
  np.testing.assert_array_less(after[seen], 0.05 * before[seen])
  np.testing.assert_array_equal(after[unseen], before[unseen])


def test_the_pinned_state_never_earns_a_bonus():
  pinned = discriminators.DiscriminatorConfig(ensemble_size=2, pinned_state=2)
  objective = make(
    disdain.DisdainConfig(over=vic.VicConfig(discriminator=pinned))
  )
  everywhere = problems.ending_in(problems.TABLE, np.zeros(S), np.arange(S))
  bonus = objective.reward(objective.init(KEY), everywhere)[0, :, 1]
  np.testing.assert_allclose(bonus[2], 0.0, atol=1e-6)
  assert np.sum(bonus > 1e-4) == S - 1


def test_an_objective_without_discriminators_is_refused():
  with pytest.raises(ValueError, match="discriminators.*'counts'"):
    disdain.bonus(counts.bonus(S, base.FINAL_STEP))


@pytest.mark.parametrize('config', [counts.CountsConfig(), rnd.RndConfig()])
def test_a_configuration_without_discriminators_is_refused(config):
  with pytest.raises(ValueError, match=f'over.*{type(config).__name__}'):
    disdain.DisdainConfig(over=config)


def test_one_member_is_refused():
  with pytest.raises(ValueError, match='ensemble_size must be >= 2.*got 1'):
    disdain.DisdainConfig(over=vic.VicConfig())


def test_a_negative_weight_is_refused():
  with pytest.raises(ValueError, match='bonus_weight must be >= 0, got -1'):
    disdain.DisdainConfig(bonus_weight=-1.0)


def test_counts_may_be_added_over_disdain():
  objective = make(counts.CountsConfig(over=disdain.DisdainConfig()))
  assert objective.streams == ('skill', 'disdain', 'counts')
  np.testing.assert_array_equal(
    objective.weights(objective.init(KEY)), [1.0, 20.0, 3.0]
  )
