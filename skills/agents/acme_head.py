"""The same agents under the signatures of Acme's GitHub HEAD.

HEAD replaced the layouts of dm-acme 0.4.0 by `acme.jax.experiments`, whose
builders take more arguments:

    experiments.run_experiment(
      experiments.ExperimentConfig(
        builder=HeadBuilder(config),
        network_factory=make_network_factory(config),
        environment_factory=...,
        max_num_actor_steps=...,
        seed=0,
      )
    )

HEAD itself wants a newer Reverb than the one that this project installs.
`run_experiment` acts, learns and evaluates in turn, so `replay.timeout_s` must
exceed the time of an evaluation.
"""

from collections.abc import Callable
from collections.abc import Iterator
from typing import Any

from acme import core
from acme import specs
from acme.adders import reverb as adders
from acme.agents.jax import actor_core
from acme.utils import counting
from acme.utils import loggers
import jax
import reverb

from skills import acting
from skills import config as config_lib
from skills import registry
from skills import types
from skills.agents import builder
from skills.agents import learning
from skills.agents.replay import stalls

_LEARNER = 'learner'


def make_network_factory(
  config: config_lib.SkillAgentConfig,
) -> Callable[[specs.EnvironmentSpec], registry.Agent]:
  """Makes what HEAD calls a network factory, with an agent as networks."""
  return lambda environment_spec: builder.make_agent(config, environment_spec)


class HeadBuilder:
  """A `SkillBuilder` with the signatures of HEAD's builders."""

  def __init__(
    self,
    config: config_lib.SkillAgentConfig,
    *,
    should_stop: stalls.ShouldStop = stalls.never_stop,
  ):
    """Initializes the builder.

    Args:
      config: of the agent.
      should_stop: whether the program is stopping; ends waits for replay.

    Raises:
      ValueError: if replay does not keep the ratio of updates to environment
        steps: unlike 0.4.0's layouts, HEAD does not either.
    """
    if config.replay.kind == 'uniform':
      if config.replay.updates_per_environment_step is None:
        raise ValueError(
          'replay.updates_per_environment_step must be a positive number, got '
          "None: Acme's experiments leave the ratio to replay."
        )
    self._config = config
    self._should_stop = should_stop
    self._builder = builder.SkillBuilder(config, should_stop=should_stop)

  def make_policy(
    self,
    networks: registry.Agent,
    environment_spec: specs.EnvironmentSpec,
    evaluation: bool = False,
  ) -> actor_core.ActorCore:
    """The agent's policy for training or for evaluation."""
    del environment_spec
    return actor_core.ActorCore(
      *self._builder.make_policy(networks, evaluation)
    )

  def make_replay_tables(
    self,
    environment_spec: specs.EnvironmentSpec,
    policy: actor_core.ActorCore,
  ) -> list[reverb.Table]:
    """Makes the one replay table, with an item per skill."""
    del policy  # Its extras follow from the configuration.
    return self._builder.make_replay_tables(environment_spec)

  def make_dataset_iterator(
    self, replay_client: reverb.Client
  ) -> Iterator[adders.base.Trajectory]:
    """Iterates over batches for a step of the learner, on its device."""
    # HEAD iterates in a thread of its own, which thus copies ahead.
    return map(
      jax.device_put, self._builder.make_dataset_iterator(replay_client)
    )

  def make_adder(
    self,
    replay_client: reverb.Client,
    environment_spec: specs.EnvironmentSpec | None = None,
    policy: actor_core.ActorCore | None = None,
  ) -> adders.SequenceAdder:
    """Makes the adder, which writes one item per skill."""
    del environment_spec, policy
    return self._builder.make_adder(replay_client)

  def make_actor(
    self,
    random_key: types.PRNGKey,
    policy: actor_core.ActorCore,
    environment_spec: specs.EnvironmentSpec,
    variable_source: core.VariableSource | None = None,
    adder: Any = None,
  ) -> core.Actor:
    """Makes an actor, which fetches variables every few skills."""
    del environment_spec
    return self._builder.make_actor(
      random_key,
      acting.ActorCore(policy.init, policy.select_action, policy.get_extras),
      adder,
      variable_source,
    )

  def make_learner(
    self,
    random_key: types.PRNGKey,
    networks: registry.Agent,
    dataset: Iterator[adders.base.Trajectory],
    logger_fn: Callable[..., loggers.Logger],
    environment_spec: specs.EnvironmentSpec,
    replay_client: reverb.Client | None = None,
    counter: counting.Counter | None = None,
  ) -> learning.SkillLearner:
    """Makes the learner."""
    del environment_spec
    with_logger = builder.SkillBuilder(
      self._config,
      logger_fn=lambda: logger_fn(_LEARNER, steps_key='learner_steps'),
      should_stop=self._should_stop,
    )
    return with_logger.make_learner(
      random_key, networks, dataset, replay_client, counter
    )
