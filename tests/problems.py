"""Small problems and trajectories that the tests share."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from skills import config as config_lib
from skills import loading
from skills import registry
from skills import types
from skills.learners import q_learning
from skills.networks import models
from skills.networks import q_networks
from skills.objectives import vic

NUM_SKILLS = 4
NUM_STEPS = 5
# Lengths of the skills in a batch: whole ones and such that were cut short.
LENGTHS = (5, 3, 1, 5, 2, 4, 1)

TABLE = types.ProblemSpec(
  observation_shape=(),
  observation_dtype='int32',
  num_states=6,
  num_actions=3,
)
VECTOR = types.ProblemSpec(
  observation_shape=(2, 3),
  observation_dtype='float32',
  num_states=None,
  num_actions=3,
)
CONTROL = types.ProblemSpec(
  observation_shape=(3,),
  observation_dtype='float32',
  num_states=None,
  num_actions=None,
  action_shape=(2,),
)


def trajectory(
  problem, seed=0, lengths=LENGTHS, padding_seed=None, num_steps=NUM_STEPS
):
  """Random skills of given lengths.

  Args:
    problem: shapes and sizes.
    seed: of what the real steps hold.
    lengths: real steps of each skill.
    padding_seed: of what stands beside them; None for the same as `seed`.
    num_steps: of the longest skill that there could be, T.

  Returns:
    A trajectory, of `len(lengths)` skills.
  """
  real = _noise(problem, seed, lengths, num_steps)
  if padding_seed is not None:
    padding = _noise(problem, padding_seed, lengths, num_steps)
    padding = padding._replace(mask=real.mask)
    # The last real step leads to an observation that is real, too.
    seen = jnp.concatenate([jnp.ones_like(real.mask[:1]), real.mask])
    real = real._replace(
      **{
        name: _where(
          seen if name == 'observation' else real.mask,
          getattr(real, name),
          getattr(padding, name),
        )
        for name in ('observation', 'action', 'reward', 'discount', 'skill')
      }
    )
  return real


def _noise(problem, seed, lengths, num_steps):
  rng = np.random.default_rng(seed)
  shape = (num_steps, len(lengths))
  seen = (num_steps + 1, len(lengths), *problem.observation_shape)
  if problem.num_states is None:
    observation = rng.normal(size=seen).astype(problem.observation_dtype)
  else:
    observation = rng.integers(problem.num_states, size=seen, dtype=np.int32)
  if problem.num_actions is None:
    actions = rng.uniform(-1, 1, (*shape, *problem.action_shape))
    action = jnp.asarray(actions, jnp.float32)
  else:
    action = jnp.asarray(
      rng.integers(problem.num_actions, size=shape, dtype=np.int32)
    )
  return types.Trajectory(
    observation=jnp.asarray(observation),
    action=action,
    reward=jnp.asarray(rng.normal(size=shape).astype(np.float32)),
    discount=jnp.ones(shape),
    # One skill from the first step to the last.
    skill=jnp.broadcast_to(
      rng.integers(NUM_SKILLS, size=shape[1:], dtype=np.int32), shape
    ),
    mask=mask(lengths, num_steps),
  )


def mask(lengths, num_steps):
  """1 for the first `lengths[b]` of each column's steps, 0 elsewhere."""
  return jnp.asarray(
    (np.arange(num_steps)[:, None] < np.array(lengths)).astype(np.float32)
  )


def _where(marks, ours, others):
  marks = marks.reshape(marks.shape + (1,) * (ours.ndim - marks.ndim))
  return jnp.where(marks > 0, ours, others)


def permuted(trajectory, order):
  """The same skills in another order."""
  return jax.tree.map(lambda x: x[:, jnp.asarray(order)], trajectory)


def ending_in(problem, skills, states, starts=0):
  """Skills of one step each, that lead to the given states.

  Args:
    problem: of the states.
    skills: one each.
    states: in which they end.
    starts: in which they begin; one for all, or one each.
  """
  states = jnp.asarray(states, problem.observation_dtype)
  starts = jnp.broadcast_to(jnp.asarray(starts, states.dtype), states.shape)
  skills = jnp.asarray(skills, jnp.int32)[None]
  ones = jnp.ones(skills.shape)
  return types.Trajectory(
    observation=jnp.stack([starts, states]),
    action=jnp.zeros_like(skills),
    reward=jnp.zeros_like(ones),
    discount=ones,
    skill=skills,
    mask=ones,
  )


def with_networks(config, hidden_sizes=(8,)):
  """A configuration with perceptrons in place of all its tables."""
  changes = {}
  for field in dataclasses.fields(config):
    value = getattr(config, field.name)
    if field.name == 'hidden_sizes' and value is None:
      changes[field.name] = hidden_sizes
    elif dataclasses.is_dataclass(value):
      changes[field.name] = with_networks(value, hidden_sizes)
  return dataclasses.replace(config, **changes)


def jit_once(function):
  """Compiles a function that must not be compiled for a second time.

  chex.assert_max_traces reads a name that JAX deprecates, which is an error.
  """
  traces = []

  @functools.wraps(function)
  def traced(*args):
    traces.append(jax.tree.map(jax.typeof, args))
    assert len(traces) == 1, f'traced again: {traces}'
    return function(*args)

  return jax.jit(traced)


# Fields that hold functions of arrays alone.
_PURE = (
  *('apply', 'init', 'unroll'),
  *('reward', 'update', 'update_with_priorities', 'select_action'),
  *('encode', 'transition', 'value', 'policy'),
  *('sample', 'log_prob', 'entropy', 'mode'),
)


def compiled(functions):
  """The same functions, compiled as a whole.

  Called as they are, each of their operations would be compiled alone, which
  takes several times as long.

  Args:
    functions: a NamedTuple of functions, such as an objective, a learner, a
      policy, a network or a model.
  """
  return functions._replace(
    **{
      name: jax.jit(value)
      for name, value in functions._asdict().items()
      if name in _PURE and value is not None
    }
  )


def compiled_agent(agent):
  """An agent whose objective, learner and policies are compiled."""
  names = (
    'objective',
    'learner',
    'acting_policy',
    'evaluation_acting_policy',
    'policy',
    'evaluation_policy',
  )
  return agent._replace(
    **{name: compiled(getattr(agent, name)) for name in names}
  )


def fill(params, values):
  """Parameters of one array, with other values in it."""
  (old,), structure = jax.tree.flatten(params)
  values = jnp.asarray(values, old.dtype)
  if values.shape != old.shape:
    raise ValueError(f'values must have shape {old.shape}, got {values.shape}.')
  return jax.tree.unflatten(structure, [values])


def content(params):
  """The values of parameters of one array."""
  (array,) = jax.tree.leaves(params)
  return np.asarray(array)


def action_values(agent):
  """Parameters, observations, skills -> values, of a Q-learning agent."""
  return q_networks.make(
    agent.config.network,
    agent.problem,
    agent.config.num_skills,
    len(agent.objective.streams),
  ).apply


def handmade_skills(problem, actions, skill_length):
  """Skills of a tabular environment that do what they are told to.

  Args:
    problem: whose observations are state indices.
    actions: what each skill does in each state, `[K, S]`.
    skill_length: steps of a skill.

  Returns:
    `loading.TrainedSkills`, which never act at random.
  """
  actions = np.asarray(actions)
  agent = registry.make_agent(
    config_lib.SkillAgentConfig(
      objective=vic.VicConfig(),
      num_skills=len(actions),
      skill_length=skill_length,
      learner=q_learning.QLearningConfig(evaluation_epsilon=0.0),
    ),
    problem,
  )
  state = agent.learner.init(jax.random.PRNGKey(0))
  values = np.eye(problem.num_actions)[actions.reshape(-1), :, None]
  return loading.TrainedSkills(
    agent=agent, state=state._replace(params=fill(state.params, values))
  )


def tables_of_a_model(policy=((0.25, 0.75), (1.0, 0.0))):
  """Two states: the first pays 4 or 0 and leads to the second or itself."""
  params, under_policy = models.table(2, 2, jnp.array(policy))
  # Logits of which 60 is for certain.
  to_first, to_second = jnp.array([60.0, 0.0]), jnp.array([0.0, 60.0])
  return params._replace(
    transition=jnp.array([[to_second, to_first], [to_second, to_first]]),
    reward=jnp.array([[4.0, 0.0], [2.0, 9.0]]),
    value=jnp.array([8.0, 4.0]),
  ), under_policy
