"""The agent on device against DISDAIN's release written out in plain NumPy.

The oracle below follows the description of the release (tables, one SGD step a
batch of fresh trajectories) and shares no code with the suite. Single runs
differ by chance, so the means over seeds are compared.
"""

import numpy as np
import pytest

from envs import gridworlds
from launch.reproductions import training

RATE = 0.1  # 25 times the release's, to see in minutes what takes it longer.
UPDATES = 40_000
RUNS = 8

SKILLS, STEPS, BATCH = 24, 8, 16
GAMMA, LAMBDA, EPSILON = 0.99, 0.7, 0.001


def oracle(ensemble_size: int, bonus_weight: float) -> np.ndarray:
  """Skills learned of RUNS runs side by side, at the end of training."""
  rng = np.random.default_rng(0)
  successors = gridworlds.load('disdain_release').mdp.successors
  num_states, num_actions = successors.shape
  runs = np.arange(RUNS)[:, None]
  members = np.arange(ensemble_size)[None, None]
  # Two values, of the skill reward and of the bonus, and the discriminators.
  q = rng.random((2, RUNS, SKILLS, num_states, num_actions))
  tables = rng.random((RUNS, ensemble_size, num_states, SKILLS))

  def mixed(skill, state):
    return q[0, runs, skill, state] + bonus_weight * q[1, runs, skill, state]

  def run_skills(size):
    skill = rng.integers(0, SKILLS, (RUNS, size))
    state = np.zeros((RUNS, size), int)
    states, actions = [state], []
    for _ in range(STEPS):
      action = mixed(skill, state).argmax(-1)
      explore = rng.random((RUNS, size)) < EPSILON
      random_action = rng.integers(0, num_actions, (RUNS, size))
      action = np.where(explore, random_action, action)
      state = successors[state, action]
      actions.append(action)
      states.append(state)
    return skill, states, actions

  def log_q(state):
    logits = tables[runs[..., None], members, state[..., None]]
    logits = logits * (state != 0)[..., None, None]
    logits = logits - logits.max(-1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))

  def skill_reward(log_q_i, skill):
    q_mean = np.exp(log_q_i).mean(2)
    of_skill = np.take_along_axis(q_mean, skill[..., None], -1)[..., 0]
    return np.log(of_skill) + np.log(SKILLS)

  def entropy(p):
    return -(p * np.log(p)).sum(-1)

  for _ in range(UPDATES):
    skill, states, actions = run_skills(BATCH)
    log_q_i = log_q(states[-1])
    q_i = np.exp(log_q_i)
    rewards = (
      np.maximum(skill_reward(log_q_i, skill), 0.0),
      entropy(q_i.mean(2)) - entropy(q_i).mean(2),
    )
    steps = []
    returns = list(rewards)
    for t in reversed(range(STEPS)):
      if t < STEPS - 1:
        greedy = mixed(skill, states[t + 1]).argmax(-1)
        for k in range(2):
          value = q[k, runs, skill, states[t + 1], greedy]
          returns[k] = GAMMA * ((1 - LAMBDA) * value + LAMBDA * returns[k])
      for k in range(2):
        entry = (k, runs, skill, states[t], actions[t])
        steps.append((entry, 2 * RATE / BATCH * (returns[k] - q[entry])))
    for entry, step in steps:
      np.add.at(q, entry, step)
    towards = np.eye(SKILLS)[skill][:, :, None] - q_i
    towards = towards * (states[-1] != 0)[..., None, None]
    np.add.at(
      tables,
      (runs[..., None], members, states[-1][..., None]),
      RATE / (ensemble_size * BATCH) * towards,
    )
  skill, states, _ = run_skills(1024)
  return np.exp(skill_reward(log_q(states[-1]), skill).mean(1))


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
  ('agent', 'section', 'bonus_weight'),
  [('disdain', 'objective.over', 20.0), ('vic', 'objective', 0.0)],
)
def test_as_many_skills_are_learned_as_by_the_release(
  agent, section, bonus_weight
):
  settings = [
    ('learner.learning_rate', RATE),
    (f'{section}.discriminator.learning_rate', RATE),
    (f'{section}.discriminator.ensemble_size', 2),
  ]
  if bonus_weight:
    settings.append(('objective.bonus_weight', bonus_weight))
  variant = training.Variant(
    agent=agent,
    environment='grid:disdain_release',
    settings=tuple(settings),
    num_updates=UPDATES,
  )
  ours = [
    training.train(variant, seed)['skills_learned'] for seed in range(RUNS)
  ]
  truth = oracle(2, bonus_weight)
  error = np.sqrt((np.var(ours, ddof=1) + np.var(truth, ddof=1)) / RUNS)
  assert abs(np.mean(ours) - np.mean(truth)) < 3 * error, (ours, truth)
  # Close enough for that to say something: bonus and none are 7 skills apart.
  assert error < 1.0
