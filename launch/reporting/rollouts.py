"""Plays policies of trained skills side by side, for whole episodes.

A policy is a skill that is followed from an episode's first step to its last.
"""

from collections.abc import Callable
from collections.abc import Sequence
from typing import Any
from typing import NamedTuple

import dm_env
import jax
import jax.numpy as jnp
from jaxtyping import Float
from jaxtyping import Num
from jaxtyping import Shaped
import numpy as np

from envs import capabilities
from skills import acting
from skills import registry
from skills.learners import base

# Episodes that are played at once. More cost memory and save nothing.
_SIDE_BY_SIDE = 64

MakeEnvironment = Callable[[int], dm_env.Environment]
"""Number of an episode -> a new environment that begins as it does."""


# Limit of the observations kept: large pictures would fill the memory.
_MAX_ENTRIES = 4096


class Film(NamedTuple):
  """What an episode looked like.

  Attributes:
    frames: pictures, the first one of its start.
    every: steps from one to the next.
    score: the sum of the rewards until each.
  """

  frames: Num[np.ndarray, 'n H W 3']
  every: int
  score: Float[np.ndarray, 'n']


class Episode(NamedTuple):
  """What happened in an episode.

  Attributes:
    observation: what was seen, also at the start; None of large pictures.
    reward: of each step.
    film: what it looked like; None if it was not filmed.
  """

  observation: Shaped[np.ndarray, 'T+1 *observation'] | None
  reward: Float[np.ndarray, 'T']
  film: Film | None

  @property
  def visited(self) -> Shaped[np.ndarray, 'T *observation']:
    """What its steps led to; of episodes whose observations were kept."""
    assert self.observation is not None
    return self.observation[1:]

  @property
  def total(self) -> float:
    """The return: the sum of the rewards, not discounted."""
    return float(np.sum(self.reward, dtype=np.float64))


class Camera(NamedTuple):
  """How episodes are filmed.

  Attributes:
    frames: pictures of an episode, at least, if it has as many steps; and at
      most twice as many.
    height: of a frame of MuJoCo's, in pixels; games have sizes of their own.
    width: the same.
    is_plain: whether MuJoCo leaves out shadows and reflections.
  """

  frames: int
  height: int
  width: int
  is_plain: bool = False


class Player:
  """Plays the policies of a run."""

  def __init__(
    self,
    agent: registry.Agent,
    variables: base.Variables,
    seed: int,
    *,
    greedy: bool = False,
  ):
    """Initializes the player.

    Args:
      agent: whose policies they are.
      variables: of its policy.
      seed: of what is random in them, the same for all policies.
      greedy: whether they act as in training's evaluations, by the most likely
        or best action; if not, as they did while they learned.
    """
    self.num_policies = agent.config.num_skills
    policy = agent.evaluation_policy if greedy else agent.policy
    self._key = jax.random.PRNGKey(seed)
    # An environment's steps are too short to wait for another device.
    self._cpu = jax.local_devices(backend='cpu')[0]
    self._variables = jax.device_put(variables, self._cpu)

    def act(variables, observation, state, skill):
      action, state = policy.select_action(variables, observation, state)
      # The same skill again, from the first step of it.
      return action, acting.with_skill(state, skill)

    self._act = jax.jit(jax.vmap(act, in_axes=(None, 0, 0, 0)))
    self._init = jax.jit(
      jax.vmap(lambda key, skill: acting.with_skill(policy.init(key), skill))
    )

  def play(
    self,
    make_environment: MakeEnvironment,
    policies: Sequence[int],
    episodes: Sequence[int],
    camera: Camera | None = None,
    *,
    num_steps: int | None = None,
    is_stopped: Callable[[], bool] = lambda: False,
  ) -> list[list[Episode]]:
    """Plays each policy in each of the same episodes.

    Args:
      make_environment: called for every policy and episode.
      policies: numbers in 0..K-1.
      episodes: numbers of episodes.
      camera: films them, in environments that can be filmed; None does not.
      num_steps: after which an episode is left; None for whole ones.
      is_stopped: asked before every step: whether to leave them all.

    Returns:
      For each policy, its episodes in order.
    """

    def is_over(steps: int) -> bool:
      return is_stopped() or steps == num_steps

    wanted = [(policy, episode) for policy in policies for episode in episodes]
    played: list[Episode] = []
    for first in range(0, len(wanted), _SIDE_BY_SIDE):
      played.extend(
        self._play(
          make_environment,
          wanted[first : first + _SIDE_BY_SIDE],
          camera,
          is_over,
        )
      )
    count = len(episodes)
    return [played[i * count : (i + 1) * count] for i in range(len(policies))]

  def _play(
    self,
    make_environment: MakeEnvironment,
    wanted: Sequence[tuple[int, int]],
    camera: Camera | None,
    is_left: Callable[[int], bool],
  ) -> list[Episode]:
    """Plays pairs of a policy and an episode, in step with one another."""
    environments = [make_environment(episode) for _, episode in wanted]
    recorders = [_Recorder(environment, camera) for environment in environments]
    steps = 0
    with jax.default_device(self._cpu):
      skills = jnp.array([policy for policy, _ in wanted], jnp.int32)
      keys = jax.vmap(lambda i: jax.random.fold_in(self._key, i))(
        jnp.array([episode for _, episode in wanted])
      )
      states = self._init(keys, skills)
      while not (
        is_left(steps) or all(recorder.is_over for recorder in recorders)
      ):
        observation = np.stack([recorder.seen for recorder in recorders])
        actions, states = self._act(
          self._variables, observation, states, skills
        )
        for recorder, action in zip(recorders, np.asarray(actions)):
          recorder.step(action)
        steps += 1
    # The longest decides; all films run at the same speed.
    every = max(recorder.every for recorder in recorders)
    return [recorder.finish(every) for recorder in recorders]


class _Recorder:
  """One environment, and what happens in it."""

  def __init__(self, environment: Any, camera: Camera | None):
    self._environment = environment
    self._camera = camera
    self._has_physics = isinstance(environment, capabilities.HasPhysics)
    timestep = environment.reset()
    self.seen = np.asarray(timestep.observation)
    self.is_over = False
    self._observations = [self.seen]
    self._rewards: list[float] = []
    # Steps from one scene that is kept to the next; a power of two.
    self.every = 1
    self._scenes = [] if camera is None else [self._scene()]

  def _scene(self) -> np.ndarray:
    """What there is to film: a picture, or what one will be drawn of."""
    # To be drawn when all is over, with one renderer at a time.
    if self._has_physics:
      return self._environment.physics.get_state()
    return self._environment.screen()

  def step(self, action: np.ndarray) -> None:
    """Takes a step, unless the episode is over."""
    if self.is_over:
      return
    timestep = self._environment.step(action)
    self.seen = np.asarray(timestep.observation)
    self.is_over = timestep.last()
    self._rewards.append(float(timestep.reward))
    if self.seen.size <= _MAX_ENTRIES:
      self._observations.append(self.seen)
    if self._camera is None or len(self._rewards) % self.every:
      return
    self._scenes.append(self._scene())
    if len(self._scenes) > 2 * self._camera.frames:
      self._scenes = self._scenes[::2]
      self.every *= 2

  def _film(self, camera: Camera, every: int) -> Film:
    """Pictures of what happened, every so many steps."""
    scenes = self._scenes[:: every // self.every]
    score = np.concatenate([[0.0], np.cumsum(self._rewards)])[::every]
    return Film(
      np.stack([self._picture(camera, scene) for scene in scenes]), every, score
    )

  def _picture(self, camera: Camera, scene: np.ndarray) -> np.ndarray:
    if not self._has_physics:
      return scene
    with self._environment.physics.reset_context():
      self._environment.physics.set_state(scene)
    return self._environment.picture(
      camera.height, camera.width, is_plain=camera.is_plain
    )

  def finish(self, every: int) -> Episode:
    """What was recorded; closes the environment.

    Args:
      every: steps from one picture to the next.
    """
    camera = self._camera
    film = None if camera is None else self._film(camera, every)
    self._environment.close()
    is_small = self.seen.size <= _MAX_ENTRIES
    return Episode(
      np.stack(self._observations) if is_small else None,
      np.array(self._rewards),
      film,
    )
