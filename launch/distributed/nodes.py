"""The kinds of nodes of a distributed program, a class each.

A node is initialized in its own process (or thread), where it continues from
what an earlier one of its name saved, and runs until the program stops: it
checks Launchpad's stop event wherever it may wait.
"""

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from concurrent import futures
import contextlib
import os
import pathlib
import pickle
import queue
import sys
import threading
import time
import traceback
from typing import Any

import dm_env
import jax
import numpy as np

from envs import batched
from launch.distributed import remote
from launch.runs import experiment as experiment_lib
from launch.runs import run_checkpoints
from launch.runs import run_loggers
from launch.training import actors
from launch.training import divergence
from launch.training import interruptible
from launch.training import observers
from skills import acting
from skills.agents import acme_api
from skills.agents import builder as builder_lib
from skills.agents import evaluation
from skills.agents import learning
from skills.agents import sharding
from skills.agents.replay import stalls
from skills.agents.replay import tables as replay_tables

_POLL_S = 0.5

# Seconds after which a call to learner or inference server is repeated.
_RETRY_AFTER_S = 5.0

# Seconds between an actor's reports of its steps, and between the counter's
# checks whether these are enough: runs are longer than asked for by as much.
_COUNT_EVERY_S = 0.2

# Seconds that an inference server waits for the rest of a batch.
_BATCHING_S = 0.002

lp = acme_api.launchpad

# Makes an environment from a seed.
EnvironmentFactory = Callable[[int], dm_env.Environment]


class Node:
  """The common part of nodes: experiment, stop event and connections.

  Constructors of nodes take the experiment, the `index` of the node among those
  of its kind, and clients of the nodes that it calls. The `learner` serves
  variables, the `counter` counts steps.
  """

  def __init__(self, experiment: experiment_lib.Experiment):
    """Initializes the node, in its own thread or process."""
    self._experiment = experiment
    self._config = experiment.config
    self._folder = pathlib.Path(experiment.output_dir)
    self._stop: threading.Event = lp.stop_event()

  def _connect(
    self,
    client: lp.CourierClient,
    name: str,
    retry_after_s: float | None = _RETRY_AFTER_S,
  ) -> remote.Remote:
    return remote.Remote(
      client,
      name,
      self._stop.is_set,
      self._config.replay.timeout_s,
      retry_after_s,
    )

  def _connect_to_counter(self, client: lp.CourierClient) -> Any:
    # A repeated call might count twice.
    return self._connect(client, 'counter', retry_after_s=None)


class Counter(acme_api.counting.Counter):
  """Sums up all nodes' counts, keeps numbers and stops the program."""

  def __init__(self, experiment: experiment_lib.Experiment, linger_s: float):
    """Continues from the counts of the newest checkpoint.

    Args:
      experiment: what is run.
      linger_s: seconds that it counts after the stop, while others leave.
    """
    super().__init__()
    self._stop: threading.Event = lp.stop_event()
    self._linger_s = linger_s
    self._num_steps = experiment.num_steps
    self._numbers: dict[str, float] = {}
    self.increment(
      **run_checkpoints.counts(pathlib.Path(experiment.output_dir))
    )

  def publish(self, numbers: Mapping[str, float]) -> None:
    """Keeps numbers for the progress display."""
    self._numbers = {**self._numbers, **numbers}

  def status(self) -> dict[str, Any]:
    """The 'counts', and the 'numbers' that nodes have published."""
    return {'counts': self.get_counts(), 'numbers': self._numbers}

  def run(self) -> None:
    """Stops the program once all steps are made."""
    while not self._stop.wait(_COUNT_EVERY_S):
      if self.get_counts()['actor_steps'] >= self._num_steps:
        lp.stop()
        self._stop.wait()
    threading.Event().wait(self._linger_s)


class Replay(lp.ReverbNode):
  """A replay server that holds what the newest checkpoint has for it."""

  def __init__(
    self,
    experiment: experiment_lib.Experiment,
    shard: int,
    make_tables: Callable[[], list[acme_api.reverb.Table]],
    linger_s: float | None,
  ):
    """Initializes the node, not yet in its own process.

    Args:
      experiment: what is run.
      shard: number of the server.
      make_tables: makes its tables.
      linger_s: seconds that it serves after the stop, while others leave; None
        for as long as its process lives.
    """
    super().__init__(make_tables)
    self._folder = pathlib.Path(experiment.output_dir)
    self._shard = shard
    self._linger_s = linger_s

  def run(self) -> None:
    """Serves until the program stops."""
    server = run_checkpoints.make_replay_server(
      self._folder,
      self._shard,
      self._priority_tables_fn(),
      lp.get_port_from_address(self.reverb_address.resolve()),
    )
    lp.wait_for_stop()
    threading.Event().wait(self._linger_s)
    server.stop()


class _Published(acme_api.loggers.Logger):
  """Publishes the parameters' age and replay's size at the counter."""

  def __init__(
    self,
    counter: lp.CourierClient,
    replay_clients: Sequence[acme_api.reverb.Client],
  ):
    self._counter = counter
    self._replay_clients = replay_clients

  def write(self, data: Mapping[str, Any]) -> None:
    numbers = {'parameter_age': float(data['parameter_age'])}
    found = [replay_tables.stats(client) for client in self._replay_clients]
    stats = [each for each in found if each is not None]
    if len(stats) == len(found):
      numbers['replay_size'] = sum(each.size for each in stats)
    # The answer is not waited for.
    self._counter.futures.publish(numbers)

  def close(self) -> None:
    pass


class Learner(Node):
  """Learns, serves variables, and writes the run's checkpoints.

  Several of them share each update's batch; the first one counts, logs and
  saves for all.
  """

  def __init__(
    self,
    experiment: experiment_lib.Experiment,
    environment_spec: acme_api.specs.EnvironmentSpec,
    index: int,
    addresses: Sequence[lp.Address],
    replay_clients: Sequence[acme_api.reverb.Client],
    counter: lp.CourierClient,
  ):
    """Initializes the node; several learners meet at `addresses`."""
    super().__init__(experiment)
    num_learners = max(len(addresses), 1)
    if addresses:
      host = addresses[index].resolve().rpartition(':')[0]
      sharding.join(addresses[0].resolve(), num_learners, index, host)
    self._is_first = index == 0
    self._is_one_of_several = num_learners > 1
    self._started = time.monotonic()
    self._earlier_s = 0.0
    self._replay_clients = list(replay_clients)
    self._counter = self._connect_to_counter(counter)
    config = self._config
    agent = builder_lib.make_agent(config, environment_spec)
    self._logger = (
      run_loggers.make(
        self._folder,
        'learner',
        diagnose=agent.objective.diagnose,
        beside=[_Published(counter, replay_clients)],
        wandb=experiment.wandb,
      )
      if self._is_first
      else acme_api.loggers.NoOpLogger()
    )
    builder = builder_lib.SkillBuilder(
      config,
      logger_fn=lambda: self._logger,
      should_stop=self._stop.is_set,
    )
    self._iterator = builder.make_dataset_iterator(self._replay_clients)
    self._learner = builder.make_learner(
      jax.random.PRNGKey(experiment.seed_for('learner')),
      agent,
      self._iterator,
      self._replay_clients,
      counter=acme_api.counting.Counter(
        self._counter if self._is_first else None, 'learner'
      ),
    )
    checkpoint = run_checkpoints.newest(self._folder)
    if checkpoint is not None:
      state, meta = run_checkpoints.load(checkpoint, self._learner.save())
      self._learner.restore(state)
      self._earlier_s = meta['wall_time_s']
    if self._is_first:
      # Updates of a killed learner after its last checkpoint do not count.
      steps = int(self._learner.save().steps)
      counted = self._counter.get_counts()['learner_steps']
      self._counter.increment(learner_steps=steps - counted)

  def get_variables(self, names: Sequence[str]) -> list[Any]:
    """Copies of the newest variables, by name."""
    return self._learner.get_variables(names)

  def run(self) -> None:
    """Learns until the program stops; saves periodically and at the end."""
    try:
      self._learn()
    except Exception:
      if not self._is_one_of_several:
        raise
      # At exit JAX would wait for the other learners, which wait for this one.
      traceback.print_exc()
      sys.stderr.flush()
      os._exit(1)
    if self._is_first:
      self._save()

  def _learn(self) -> None:
    last_save = time.monotonic()
    try:
      while not self._stop.is_set():
        self._learner.step()
        every = self._experiment.checkpoint_every_s
        if self._is_first and time.monotonic() - last_save > every:
          last_save = time.monotonic()
          self._save()
    except stalls.StoppedError:
      # If another learner ended, the launcher reports why.
      self._stop.wait()
    finally:
      self._iterator.close()
      self._learner.close()
      self._logger.close()

  def _save(self) -> None:
    run_checkpoints.save(
      self._folder,
      self._learner.save(),
      self._counter.get_counts(),
      self._earlier_s + time.monotonic() - self._started,
      self._replay_clients,
    )


class InferenceServer(Node):
  """Selects actions for several actors at once.

  It is stateless: an actor sends the state of its policy along.
  """

  def __init__(
    self,
    experiment: experiment_lib.Experiment,
    environment_spec: acme_api.specs.EnvironmentSpec,
    index: int,
    learner: lp.CourierClient,
    num_actors: int,
  ):
    """Initializes the node, which serves `num_actors` actors."""
    super().__init__(experiment)
    policy = builder_lib.make_agent(self._config, environment_spec).policy
    [device] = jax.local_devices()[index % jax.local_device_count() :][:1]
    self._variables = acme_api.variable_utils.VariableClient(
      remote.RemoteLearner(self._connect(learner, 'learner')),
      learning.POLICY,
      update_period=builder_lib.fetch_period(self._config),
      device=device,
    )
    number = experiment.num_environments
    select = policy.select_action
    if number > 1:
      select = acting.batch(policy).select_action
    self._select = jax.jit(jax.vmap(select, (None, 0, 0)), device=device)
    self._num_actors = num_actors
    self._requests: queue.Queue[tuple[Any, futures.Future[Any]]] = queue.Queue()
    # Compiles before the first actor waits.
    like = _request_like(policy, environment_spec, number)
    self._select_actions(
      [jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), like)]
    )

  def select_action(self, request: bytes) -> bytes:
    """Selects an action.

    Args:
      request: what `select_action` of the policy takes after the variables, or
        that of an `acting.batch`, pickled: Courier returns arrays but hangs on
        arrays among arguments.

    Returns:
      What it gives, pickled.
    """
    answer: futures.Future[Any] = futures.Future()
    self._requests.put((pickle.loads(request), answer))
    return pickle.dumps(answer.result())

  def run(self) -> None:
    """Answers until the program stops."""
    while not self._stop.is_set():
      try:
        waiting = [self._requests.get(timeout=_POLL_S)]
      except queue.Empty:
        continue
      deadline = time.monotonic() + _BATCHING_S
      with contextlib.suppress(queue.Empty):
        while len(waiting) < self._num_actors:
          left = max(deadline - time.monotonic(), 0)
          waiting.append(self._requests.get(timeout=left))
      answers = self._select_actions([request for request, _ in waiting])
      for (_, answer), result in zip(waiting, answers, strict=True):
        answer.set_result(result)

  def _select_actions(self, requests: list[Any]) -> list[Any]:
    self._variables.update()
    # All batches have the same size, for which the policy is compiled once.
    missing = self._num_actors - len(requests)
    padded = requests + requests[-1:] * missing
    inputs, state = jax.tree.map(lambda *x: np.stack(x), *padded)
    answer = self._select(self._variables.params, inputs, state)
    leaves, structure = jax.tree.flatten(learning.to_host(answer))
    return [
      jax.tree.unflatten(structure, [leaf[i] for leaf in leaves])
      for i in range(len(requests))
    ]


def _request_like(
  policy: acting.ActorCore,
  environment_spec: acme_api.specs.EnvironmentSpec,
  num_environments: int,
) -> Any:
  """What an actor sends, as values or shapes."""
  observation = environment_spec.observations.generate_value()
  if num_environments == 1:
    return observation, jax.eval_shape(policy.init, jax.random.PRNGKey(0))
  keys = np.zeros((num_environments, 2), np.uint32)
  observations = np.stack([observation] * num_environments)
  begins = np.zeros(num_environments, bool)
  state = jax.eval_shape(acting.batch(policy).init, keys)
  return (observations, begins), state


def _served(server: remote.Remote) -> Callable[[Any, Any, Any], Any]:
  """A `select_action` that an inference server computes."""

  def select_action(variables, inputs, state):
    del variables  # The server has them.
    request = jax.tree.map(np.asarray, (inputs, state))
    return pickle.loads(server.select_action(pickle.dumps(request)))

  return select_action


def make_environments(
  experiment: experiment_lib.Experiment,
  make_environment: EnvironmentFactory | None,
  seeds: Sequence[int],
) -> dm_env.Environment | batched.BatchedEnvironment:
  """An environment for one seed, several side by side for more.

  Args:
    experiment: whose environments these are.
    make_environment: makes others in their place; None for its own.
    seeds: one for each.
  """
  if make_environment is None:
    return experiment.make_environments(seeds)
  made = [make_environment(seed) for seed in seeds]
  return made[0] if len(made) == 1 else batched.Serial(made)


class Actor(Node):
  """Acts in environments of its own and writes to one replay server."""

  def __init__(
    self,
    experiment: experiment_lib.Experiment,
    make_environment: EnvironmentFactory | None,
    index: int,
    replay_client: acme_api.reverb.Client,
    learner: lp.CourierClient,
    counter: lp.CourierClient,
    inference: lp.CourierClient | None,
  ):
    """Initializes the node; without `inference` it selects actions itself."""
    super().__init__(experiment)
    remote_counter = self._connect_to_counter(counter)
    started_at = remote_counter.get_counts()['actor_steps']

    def seeds_for(part: str) -> list[int]:
      number = experiment.num_environments
      return experiment.seeds_for(part, number, index, started_at)

    environment = interruptible.wrap(
      make_environments(experiment, make_environment, seeds_for('environment')),
      self._stop.is_set,
    )
    self._counts = acme_api.counting.Counter(
      remote_counter, 'actor', time_delta=_COUNT_EVERY_S
    )
    self._counts.get_counts()  # So that the first row has all columns.
    self._actor = actors.make(
      environment,
      builder_lib.SkillBuilder(self._config, should_stop=self._stop.is_set),
      builder_lib.make_agent(
        self._config, interruptible.spec(environment)
      ).policy,
      seeds_for('actor'),
      replay_client,
      _served(self._connect(inference, 'inference server'))
      if inference
      else remote.RemoteLearner(self._connect(learner, 'learner')),
      self._counts,
      self._stop.is_set,
    )
    self._logger = run_loggers.make(
      self._folder, f'actor-{index}', wandb=experiment.wandb
    )

  def run(self) -> None:
    """Acts until the program stops."""
    try:
      with contextlib.suppress(stalls.StoppedError):
        self._act()
      with contextlib.suppress(stalls.StoppedError):
        self._actor.flush()
    finally:
      self._actor.close()
      self._logger.close()
    # Reports the last counts.
    self._counts.restore(self._counts.save())
    self._counts.get_counts()

  def _act(self) -> None:
    steps = 0
    while not self._stop.is_set():
      for result in self._actor.act():
        self._logger.write(result)
        steps = result['actor_steps']
      if steps >= self._experiment.num_steps:
        # Some of these have not been reported to the counter yet.
        while not self._stop.wait(_COUNT_EVERY_S):
          self._counts.get_counts()


class Evaluator(Node):
  """Measures skills periodically in an environment of its own."""

  def __init__(
    self,
    experiment: experiment_lib.Experiment,
    make_environment: EnvironmentFactory | None,
    index: int,
    learner: lp.CourierClient,
    counter: lp.CourierClient,
  ):
    """Initializes the node; the numbers of the first evaluator are shown."""
    super().__init__(experiment)
    self._index = index
    self._counter = self._connect_to_counter(counter)
    self._started_at = self._counter.get_counts()['actor_steps']
    seeds = experiment.seeds_for(
      'evaluator environment', experiment.num_evaluated, index, self._started_at
    )
    environment = interruptible.wrap(
      make_environments(experiment, make_environment, seeds), self._stop.is_set
    )
    builder = builder_lib.SkillBuilder(
      self._config, should_stop=self._stop.is_set
    )
    self._source = remote.RemoteLearner(self._connect(learner, 'learner'))
    self._evaluator = evaluation.Evaluator(
      builder_lib.make_agent(self._config, interruptible.spec(environment)),
      builder,
      environment,
      self._source,
      jax.random.PRNGKey(
        experiment.seed_for('evaluator', index, self._started_at)
      ),
      observers.make(environment),
      self._stop.is_set,
    )
    label = 'evaluator' if index == 0 else f'evaluator-{index}'
    self._logger = run_loggers.make(
      self._folder, label, every_s=0, wandb=experiment.wandb
    )

  def run(self) -> None:
    """Evaluates until the program stops."""
    next_evaluation = self._started_at
    try:
      while not self._stop.wait(_POLL_S):
        counts = self._counter.get_counts()
        if counts['actor_steps'] < next_evaluation:
          continue
        next_evaluation = (
          counts['actor_steps'] + self._experiment.steps_per_evaluation
        )
        _, numbers = self._evaluator.run(*self._experiment.evaluation_size)
        self._logger.write({**numbers, **counts})
        divergence.check_finite(
          self._source.get_variables([learning.POLICY]),
          self._experiment.config.learner,
        )
        if self._index == 0:
          self._counter.publish(numbers)
    except stalls.StoppedError:
      pass
    finally:
      self._logger.close()
