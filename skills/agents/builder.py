"""An Acme builder of skill agents, for Acme's layouts and other programs."""

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any

from acme import core
from acme import specs
from acme.adders import reverb as adders
from acme.agents.jax import actor_core
from acme.agents.jax import actors
from acme.agents.jax import builders
from acme.jax import variable_utils
from acme.utils import counting
from acme.utils import loggers
import jax
import numpy as np
import reverb

from skills import acting
from skills import config as config_lib
from skills import registry
from skills import types
from skills.agents import batch_actor
from skills.agents import learning
from skills.agents.replay import batch_writer
from skills.agents.replay import priorities
from skills.agents.replay import reader as replay_reader
from skills.agents.replay import stalls
from skills.agents.replay import tables as replay_tables
from skills.agents.replay import writer as replay_writer

# Skills that an actor runs between two requests for variables.
_SKILLS_PER_FETCH = 4


def fetch_period(config: config_lib.SkillAgentConfig) -> int:
  """Steps of an actor between two requests for variables."""
  return _SKILLS_PER_FETCH * config.skill_length


def make_agent(
  config: config_lib.SkillAgentConfig, environment_spec: specs.EnvironmentSpec
) -> registry.Agent:
  """The agent's pure parts, for an environment that Acme's specs describe."""
  return registry.make_agent(
    config,
    types.ProblemSpec.from_specs(
      environment_spec.observations, environment_spec.actions
    ),
  )


class SkillActor(actors.GenericActor):
  """Acme's actor, with a random key that can be saved and restored."""

  def save(self) -> types.PRNGKey:
    """The random key of the next episodes."""
    return self._random_key

  def restore(self, key: types.PRNGKey) -> None:
    """Continues from a saved key at the next episode."""
    self._random_key = jax.device_put(key, _cpu())

  def fetch(self) -> None:
    """Fetches the newest variables and waits for them."""
    if self._variable_client is not None:
      self._variable_client.update_and_wait()


class SkillBuilder(
  builders.GenericActorLearnerBuilder[
    registry.Agent, acting.ActorCore, adders.base.Trajectory
  ]
):
  """Builds the agents of the skill family.

  Its methods are those of dm-acme 0.4.0. What Acme calls networks is here a
  `registry.Agent`, and what it calls a policy an `acting.ActorCore`.
  """

  def __init__(
    self,
    config: config_lib.SkillAgentConfig,
    *,
    logger_fn: Callable[[], loggers.Logger] = loggers.NoOpLogger,
    should_stop: stalls.ShouldStop = stalls.never_stop,
    devices: Sequence[jax.Device] | None = None,
  ):
    """Initializes the builder.

    Args:
      config: of the agent.
      logger_fn: makes the learner's logger.
      should_stop: whether the program is stopping; ends waits for replay.
      devices: share the learner's work; None for all of `jax.devices()`, which
        has those of other processes after `sharding.join`.
    """
    self._config = config
    self._logger_fn = logger_fn
    self._should_stop = should_stop
    self._devices = devices

  def make_policy(
    self, agent: registry.Agent, evaluation: bool = False
  ) -> acting.ActorCore:
    """The agent's policy for training or for evaluation."""
    return agent.evaluation_policy if evaluation else agent.policy

  def make_replay_tables(
    self, environment_spec: specs.EnvironmentSpec
  ) -> list[reverb.Table]:
    """Makes the one replay table, with an item per skill."""
    # Shapes of the extras are derived from the policy, so that they agree with
    # what actors write. Nothing is computed here.
    policy = make_agent(self._config, environment_spec).policy
    extras_spec = jax.eval_shape(
      lambda key: policy.get_extras(policy.init(key)), jax.random.PRNGKey(0)
    )
    return replay_tables.make_tables(
      self._config, environment_spec, extras_spec
    )

  def make_dataset_iterator(
    self, replay_client: reverb.Client | Sequence[reverb.Client]
  ) -> replay_reader.SampleIterator:
    """Iterates over batches for a step of the learner: this process's part.

    Args:
      replay_client: of the replay server, or of several that share the data.

    Raises:
      ValueError: if a batch is not divisible by the devices or servers.
    """
    devices = self._learner_devices()
    own = [d for d in devices if d.process_index == jax.process_index()]
    return replay_reader.SampleIterator(
      self._config,
      _as_list(replay_client),
      self._should_stop,
      fetch_size=self._config.fetch_size // len(devices) * len(own),
    )

  def make_adder(
    self, replay_client: reverb.Client
  ) -> replay_writer.SkillAdder:
    """Makes the adder, which writes one item per skill."""
    return replay_writer.make_adder(
      self._config, replay_client, self._should_stop
    )

  def make_actor(
    self,
    random_key: types.PRNGKey,
    policy_network: acting.ActorCore,
    adder: Any = None,
    variable_source: core.VariableSource | None = None,
  ) -> SkillActor:
    """Makes an actor, which fetches variables every few skills.

    Raises:
      ValueError: without a `variable_source`.
    """
    if variable_source is None:
      raise ValueError('an actor needs a variable_source, got None.')
    return SkillActor(
      actor_core.ActorCore(*policy_network),
      # The policy is computed on the device of its key and variables.
      jax.device_put(random_key, _cpu()),
      variable_utils.VariableClient(
        variable_source,
        learning.POLICY,
        update_period=fetch_period(self._config),
        device=_cpu(),
      ),
      adder,
      backend=None,  # Deprecated by JAX.
    )

  def make_batch_adder(
    self, replay_client: reverb.Client
  ) -> batch_writer.SkillBatchAdder:
    """Makes the adder of several environments, which writes the same items."""
    return batch_writer.make_adder(
      self._config, replay_client, self._should_stop
    )

  def make_batch_actor(
    self,
    random_keys: Sequence[types.PRNGKey],
    policy: acting.ActorCore,
    variable_source: core.VariableSource,
  ) -> batch_actor.BatchActor:
    """Makes an actor of several environments, with a random key for each.

    It fetches variables after as many steps of all environments together as an
    actor of one, but no more often than skills end.
    """
    return batch_actor.BatchActor(
      acting.batch(policy),
      np.stack(random_keys),
      variable_utils.VariableClient(
        variable_source,
        learning.POLICY,
        update_period=max(
          fetch_period(self._config) // len(random_keys),
          self._config.skill_length,
        ),
        device=_cpu(),
      ),
    )

  def make_learner(
    self,
    random_key: types.PRNGKey,
    networks: registry.Agent,
    dataset: Iterator[adders.base.Trajectory],
    replay_client: reverb.Client | Sequence[reverb.Client] | None = None,
    counter: counting.Counter | None = None,
  ) -> learning.SkillLearner:
    """Makes the learner.

    Raises:
      ValueError: if a batch is not divisible by the devices, or priorities lack
        a `replay_client`.
    """
    config = self._config.replay
    priority_writer = None
    if config.priority_exponent is not None:
      if replay_client is None:
        raise ValueError(
          'a learner needs the replay_client for replay.priority_exponent='
          f'{config.priority_exponent}, got None.'
        )
      priority_writer = priorities.PriorityWriter(_as_list(replay_client))
    devices = self._learner_devices()
    return learning.SkillLearner(
      networks.learner,
      dataset,
      random_key,
      updates_per_step=self._config.updates_per_step,
      burn_in=config.burn_in,
      importance_exponent=config.importance_exponent,
      priority_writer=priority_writer,
      # JAX's default device need not be named.
      devices=None if devices == jax.local_devices()[:1] else devices,
      counter=counter,
      logger=self._logger_fn(),
    )

  def _learner_devices(self) -> list[jax.Device]:
    # Not in the constructor: the builder may be made in another process, or
    # before this one joined others.
    devices = list(self._devices or jax.devices())
    if self._config.batch_size % len(devices):
      raise ValueError(
        'batch_size must be a multiple of the number of devices '
        f'({len(devices)}), which share it equally, got '
        f'{self._config.batch_size}. Change it, or give the builder fewer '
        'devices.'
      )
    return devices


def _as_list(
  clients: reverb.Client | Sequence[reverb.Client],
) -> Sequence[reverb.Client]:
  return [clients] if isinstance(clients, reverb.Client) else clients


def _cpu() -> jax.Device:
  # The first of `jax.devices('cpu')` may belong to another process.
  return jax.local_devices(backend='cpu')[0]
