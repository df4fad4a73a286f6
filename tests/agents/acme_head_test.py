"""The agents under the signatures of Acme's GitHub HEAD.

HEAD is no dependency. What follows is written down from its commit 770bc75
(`acme/agents/jax/builders.py`, `acme/jax/experiments/run_experiment.py`).
"""

import inspect
import itertools
import threading

import jax
import numpy as np
import pytest

from skills import registry
from skills.agents import acme_api
from skills.agents import acme_head
from skills.agents import learning
from skills.agents.replay import stalls
from tests.programs import counting

pytestmark = pytest.mark.integration

T = counting.SKILL_LENGTH
REQUIRED = inspect.Parameter.empty

# Method -> its parameters, in order, with their defaults.
HEAD = {
  'make_replay_tables': {'environment_spec': REQUIRED, 'policy': REQUIRED},
  'make_dataset_iterator': {'replay_client': REQUIRED},
  'make_adder': {
    'replay_client': REQUIRED,
    'environment_spec': REQUIRED,
    'policy': REQUIRED,
  },
  'make_actor': {
    'random_key': REQUIRED,
    'policy': REQUIRED,
    'environment_spec': REQUIRED,
    'variable_source': None,
    'adder': None,
  },
  'make_learner': {
    'random_key': REQUIRED,
    'networks': REQUIRED,
    'dataset': REQUIRED,
    'logger_fn': REQUIRED,
    'environment_spec': REQUIRED,
    'replay_client': None,
    'counter': None,
  },
  'make_policy': {
    'networks': REQUIRED,
    'environment_spec': REQUIRED,
    'evaluation': False,
  },
}


@pytest.mark.parametrize('method', HEAD)
def test_every_call_that_head_may_make_is_understood(method):
  ours = inspect.signature(getattr(acme_head.HeadBuilder, method)).parameters
  ours = dict(itertools.islice(ours.items(), 1, None))
  assert list(ours) == list(HEAD[method])
  for name, default in HEAD[method].items():
    if default is not REQUIRED:
      assert ours[name].default == default


class PrefetchingIterator:
  """HEAD's, in essence: a thread reads one batch ahead."""

  def __init__(self, iterable):
    self._iterator = iter(iterable)
    self._batch = None
    self._is_wanted = threading.Event()
    self._is_ready = threading.Event()
    self._is_wanted.set()
    self.retrieved = 0
    self.error = None
    threading.Thread(target=self._read, daemon=True).start()

  def _read(self):
    while True:
      self._is_wanted.wait()
      self._is_wanted.clear()
      try:
        self._batch = next(self._iterator)
      except stalls.StoppedError as error:
        self.error = error
        return
      self._is_ready.set()

  def ready(self):
    return self._is_ready.is_set()

  def __iter__(self):
    return self

  def __next__(self):
    self._is_ready.wait()
    self._is_ready.clear()
    batch, self._batch = self._batch, None
    self.retrieved += 1
    self._is_wanted.set()
    return batch


class LearningActor:
  """HEAD's, in essence: learns whenever a batch has come."""

  def __init__(self, actor, learner, iterator):
    self._actor = actor
    self._learner = learner
    self._iterator = iterator

  def __getattr__(self, name):
    return getattr(self._actor, name)

  def update(self):
    while self._iterator.ready():
      before = self._iterator.retrieved
      self._learner.step()
      # Else HEAD's loop refuses the agent.
      assert self._iterator.retrieved - before == 1
      self._actor.update()


def run_experiment(config, builder, environment, num_episodes):
  """Calls the builder as HEAD's function of that name does."""
  spec = acme_api.specs.make_environment_spec(environment)
  networks = acme_head.make_network_factory(config)(spec)
  policy = builder.make_policy(
    networks=networks, environment_spec=spec, evaluation=False
  )
  tables = builder.make_replay_tables(spec, policy)
  for table in tables:
    limiter = table.info.rate_limiter_info
    # HEAD computes this, which without a ratio is an infinity.
    assert int((limiter.max_diff - limiter.min_diff) / 2) >= config.fetch_size
  server = acme_api.reverb.Server(tables)
  try:
    client = acme_api.reverb.Client(f'localhost:{server.port}')
    dataset = PrefetchingIterator(builder.make_dataset_iterator(client))
    logs = {}

    def logger_factory(label, steps_key=None, instance=None):
      assert instance is None
      assert label not in logs
      logs[label] = counting.Log()
      logs[label].steps_key = steps_key
      return logs[label]

    parent = acme_api.counting.Counter(time_delta=0.0)
    learner = builder.make_learner(
      random_key=jax.random.PRNGKey(0),
      networks=networks,
      dataset=dataset,
      logger_fn=logger_factory,
      environment_spec=spec,
      replay_client=client,
      counter=acme_api.counting.Counter(
        parent, prefix='learner', time_delta=0.0
      ),
    )
    witness = counting.Witness(builder.make_adder(client, spec, policy))
    actor = builder.make_actor(
      jax.random.PRNGKey(1),
      policy,
      spec,
      variable_source=learner,
      adder=witness,
    )
    acme_api.environment_loop.EnvironmentLoop(
      environment,
      LearningActor(actor, learner, dataset),
      counter=acme_api.counting.Counter(parent, prefix='actor', time_delta=0.0),
      logger=counting.Log(),
    ).run(num_episodes=num_episodes)
    # An evaluator has neither an adder nor a say in what is learned.
    evaluator = builder.make_actor(
      random_key=jax.random.PRNGKey(2),
      policy=builder.make_policy(
        networks=networks, environment_spec=spec, evaluation=True
      ),
      environment_spec=spec,
      variable_source=learner,
    )
    acme_api.environment_loop.EnvironmentLoop(
      environment,
      evaluator,
      counter=acme_api.counting.Counter(
        parent, prefix='evaluator', time_delta=0.0
      ),
      logger=counting.Log(),
    ).run(num_episodes=2)
    return learner, witness, parent.get_counts(), logs, dataset
  finally:
    builder._should_stop.__self__.set()
    server.stop()


@pytest.mark.parametrize(
  ('kind', 'fields'),
  [
    ('uniform', counting.WITH_MODEL),
    pytest.param('uniform', {}, marks=pytest.mark.slow),
    pytest.param('queue', {}, marks=pytest.mark.slow),
  ],
)
def test_it_learns_when_it_is_called_as_head_calls_it(kind, fields):
  config = counting.make_config(
    batch_size=3,
    replay={
      'kind': kind,
      'capacity': 500,
      'min_size': 8,
      # Each trajectory is sampled once.
      'updates_per_environment_step': 1 / (3 * T),
      # Nothing is written while the learner compiles.
      'timeout_s': 120.0,
    },
    **fields,
  )
  builder = acme_head.HeadBuilder(config, should_stop=threading.Event().is_set)
  learner, witness, counts, logs, dataset = run_experiment(
    config, builder, counting.CountingEnvironment([T, 2 * T, T + 1]), 60
  )
  num_skills = len(witness.skills(T))
  assert num_skills == 100
  assert counts['actor_episodes'] == 60
  assert counts['evaluator_episodes'] == 2
  assert 0 < counts['learner_steps'] == dataset.retrieved
  assert counts['learner_steps'] <= (num_skills + 2) // 3 + 2
  assert learner.save().steps == counts['learner_steps']
  [log] = logs.values()
  assert list(logs) == ['learner']
  assert log.steps_key == 'learner_steps'
  assert log.rows[-1]['learner_steps'] == counts['learner_steps']
  [variables] = learner.get_variables([learning.POLICY])
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(variables))


def test_batches_are_on_the_device_before_the_learner_asks_for_them():
  config = counting.make_config(replay=counting.queue())
  builder = acme_head.HeadBuilder(config)
  agent = acme_head.make_network_factory(config)(counting.SPEC)
  assert isinstance(agent, registry.Agent)
  policy = builder.make_policy(agent, counting.SPEC)
  server = acme_api.reverb.Server(
    builder.make_replay_tables(counting.SPEC, policy)
  )
  try:
    client = acme_api.reverb.Client(f'localhost:{server.port}')
    adder = builder.make_adder(client, counting.SPEC, policy)
    counting.make_actor(config, counting.CountingEnvironment([T]), adder).run(
      num_episodes=2
    )
    batch = next(builder.make_dataset_iterator(client))
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(batch))
    assert batch.reward.shape == (2, T + 1)
    del adder
  finally:
    server.stop()


def test_a_policy_is_acme_s_actor_core_for_inference_servers():
  config = counting.make_config()
  builder = acme_head.HeadBuilder(config)
  agent = acme_head.make_network_factory(config)(counting.SPEC)
  policy = builder.make_policy(agent, counting.SPEC, evaluation=True)
  assert isinstance(policy, acme_head.actor_core.ActorCore)
  assert policy.select_action is agent.evaluation_policy.select_action


def test_replay_without_a_ratio_is_refused():
  config = counting.make_config(replay={'updates_per_environment_step': None})
  with pytest.raises(
    ValueError, match=r'replay\.updates_per_environment_step .* None'
  ):
    acme_head.HeadBuilder(config)
  # A queue has a ratio by its nature.
  acme_head.HeadBuilder(
    counting.make_config(
      replay=counting.queue(updates_per_environment_step=None)
    )
  )
