"""Hierarchical environment: trained skills as actions.

Wraps a dm_env whose actions become the K skills, each of which runs for its
fixed length, and the A primitive actions. The agent that acts in it is the
controller, as in the hierarchical evaluation of Baumli et al., "Relative
variational intrinsic control", 2021. It is a semi-Markov decision process
(Sutton, Precup and Singh, 1999): an action that takes tau steps gives

    reward    r_1 + gamma r_2 + ... + gamma^(tau - 1) r_tau
    discount  gamma^tau

where the discounts of the environment multiply gamma, so that the discount is 0
at a terminal state, and gamma^tau where an episode was truncated. A skill stops
early when the episode ends.

The discounts, those of primitive actions included, contain gamma, so that the
controller's own gamma is 1.
"""

from typing import Any

import dm_env
from dm_env import specs
import jax
import numpy as np

from envs import base
from envs import capabilities
from skills import acting
from skills import loading
from skills import types


class HierarchicalEnvironment(base.DiscreteEnvironment):
  """An environment in which skills and primitive actions are chosen.

  Actions 0..K-1 are the skills, the next A the primitive actions. Skills act as
  in evaluations. The recurrent state of their policy, if any, lasts for an
  episode, and primitive actions do not change it.
  """

  def __init__(
    self,
    environment: dm_env.Environment,
    trained: loading.TrainedSkills,
    *,
    discount: float,
    primitives: bool = True,
    seed: int = 0,
  ):
    """Initializes the environment.

    Args:
      environment: in which skills act.
      trained: the skills, of an environment of the same specs.
      discount: gamma per step of `environment`, in [0, 1].
      primitives: whether primitive actions, which must be discrete, can be
        chosen too.
      seed: of the randomness of the skills.

    Raises:
      ValueError: if the specs differ from those of the skills' environment, or
        primitive actions are not discrete.
    """
    if not 0 <= discount <= 1:
      raise ValueError(f'discount must be in [0, 1], got {discount}.')
    check(environment, trained, primitives=primitives)
    self._environment = environment
    self._num_skills = trained.config.num_skills
    self._skill_length = trained.config.skill_length
    self._discount = discount
    action_spec: Any = environment.action_spec()
    num_primitives = action_spec.num_values if primitives else 0
    self._num_actions = self._num_skills + num_primitives
    self._key = jax.random.PRNGKey(seed)
    self._episode = 0
    self._steps = 0
    self._needs_reset = True
    self._observation: Any = None
    self._variables = trained.variables
    self._select_action = jax.jit(trained.select_action)
    self._begin = jax.jit(acting.with_skill)
    self._init = jax.jit(
      lambda key, episode: trained.init(jax.random.fold_in(key, episode))
    )
    self._actor: acting.ActorState = self._init(self._key, 0)

  @property
  def steps(self) -> int:
    """Steps of the environment inside, in all episodes."""
    return self._steps

  def reset(self) -> dm_env.TimeStep:
    """Begins an episode."""
    self._needs_reset = False
    self._actor = self._init(self._key, self._episode)
    self._episode += 1
    timestep = self._environment.reset()
    self._observation = timestep.observation
    return timestep

  def _step(self, action: int) -> dm_env.TimeStep:
    """Runs a skill to its end, or takes a primitive action."""
    if action >= self._num_skills:
      primitive = np.asarray(action - self._num_skills, np.int32)
      timestep, reward, discount = self._advance(primitive, 0.0, 1.0)
    else:
      timestep, reward, discount = self._run(action)
    self._needs_reset = timestep.last()
    return timestep._replace(
      reward=np.float32(reward), discount=np.float32(discount)
    )

  def _run(self, skill: int) -> tuple[dm_env.TimeStep, float, float]:
    self._actor = self._begin(self._actor, skill)
    timestep, reward, discount = None, 0.0, 1.0
    for _ in range(self._skill_length):
      action, self._actor = self._select_action(
        self._variables, self._observation, self._actor
      )
      timestep, reward, discount = self._advance(
        np.asarray(action), reward, discount
      )
      if timestep.last():
        break
    assert timestep is not None
    return timestep, reward, discount

  def _advance(
    self, action: np.ndarray, reward: float, discount: float
  ) -> tuple[dm_env.TimeStep, float, float]:
    """Takes one step, and adds it to reward and discount."""
    timestep = self._environment.step(action)
    self._observation = timestep.observation
    self._steps += 1
    return (
      timestep,
      reward + discount * float(timestep.reward),
      discount * self._discount * float(timestep.discount),
    )

  def observation_spec(self) -> Any:
    """Observation spec of the environment inside."""
    return self._environment.observation_spec()

  def action_spec(  # pyrefly: ignore[bad-override]
    self,
  ) -> specs.DiscreteArray:
    """One of K skills and A primitive actions, int32."""
    return specs.DiscreteArray(self._num_actions, np.int32, 'skill_or_action')

  def reward_spec(self) -> specs.Array:  # pyrefly: ignore[bad-override]
    """A float32 scalar, the sum over a skill."""
    return specs.Array((), np.float32, 'reward')

  def close(self) -> None:
    """Closes the environment inside."""
    self._environment.close()

  def save(self) -> dict[str, Any]:
    """Everything that a continued run needs, between episodes.

    Returns:
      Plain Python values: the number of episodes and of steps, and the saved
      state of the environment inside, None if it has none.
    """
    return {
      'episode': self._episode,
      'steps': self._steps,
      'environment': capabilities.save(self._environment),
    }

  def restore(self, saved: dict[str, Any]) -> None:
    """Continues with the next episode from a result of `save`."""
    capabilities.restore(self._environment, saved['environment'])
    self._episode = saved['episode']
    self._steps = saved['steps']
    self._needs_reset = True


def check(
  environment: dm_env.Environment,
  trained: loading.TrainedSkills,
  *,
  primitives: bool = True,
) -> None:
  """Refuses skills that cannot act in an environment.

  Args:
    environment: in which they are to act.
    trained: the skills.
    primitives: whether primitive actions can be chosen too.

  Raises:
    ValueError: naming what differs.
  """
  problem = types.ProblemSpec.from_specs(
    environment.observation_spec(), environment.action_spec()
  )
  if problem != trained.problem:
    raise ValueError(
      f'the skills are of an environment with {_describe(trained.problem)}, '
      f'but this one has {_describe(problem)}.'
    )
  if primitives and not isinstance(
    environment.action_spec(), specs.DiscreteArray
  ):
    raise ValueError(
      'primitive actions must be discrete to be chosen beside skills, got '
      f'{environment.action_spec()!r}; give primitives=False.'
    )


def _describe(problem: types.ProblemSpec) -> str:
  if problem.num_states is not None:
    seen = f'{problem.num_states} states'
  else:
    shape = 'x'.join(map(str, problem.observation_shape)) or 'scalar'
    seen = f'observations {shape} of {problem.observation_dtype}'
  if problem.num_actions is not None:
    return f'{seen} and {problem.num_actions} actions'
  return f'{seen} and actions in [-1, 1] of shape {problem.action_shape}'
