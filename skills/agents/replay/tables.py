"""Reverb tables of trajectories: rate limits and statistics."""

from typing import Any
from typing import NamedTuple

from acme import specs
from acme.adders import reverb as adders
import reverb

from skills import config as config_lib

TABLE = 'trajectories'

# Seconds that a server may take to describe itself; Reverb takes whole ones.
ANSWER_S = 1


def error_buffer(
  config: config_lib.SkillAgentConfig, samples_per_insert: float
) -> float:
  """Error buffer of the rate limiter, in sampled trajectories.

  Actors and learner may deviate from their ratio by as much.

  Args:
    config: of the agent.
    samples_per_insert: that ratio, `config.samples_per_insert`.
  """
  replay = config.replay
  if replay.error_buffer is not None:
    return replay.error_buffer
  return max(
    0.1 * replay.min_size * samples_per_insert,
    2.0 * config.fetch_size,
    samples_per_insert,
  )


def make_tables(
  config: config_lib.SkillAgentConfig,
  environment_spec: specs.EnvironmentSpec,
  extras_spec: Any,
) -> list[reverb.Table]:
  """Makes the one table, with a new rate limiter.

  Args:
    config: of the agent.
    environment_spec: of the environment that actors act in.
    extras_spec: shapes and dtypes of the extras that they write.
  """
  replay = config.replay
  signature = adders.SequenceAdder.signature(
    environment_spec, extras_spec, sequence_length(config)
  )
  if replay.kind == 'queue':
    return [reverb.Table.queue(TABLE, replay.capacity, signature=signature)]
  samples_per_insert = config.samples_per_insert
  if samples_per_insert is None:
    rate_limiter = reverb.rate_limiters.MinSize(replay.min_size)
  else:
    rate_limiter = reverb.rate_limiters.SampleToInsertRatio(
      samples_per_insert,
      replay.min_size,
      error_buffer(config, samples_per_insert),
    )
  return [
    reverb.Table(
      TABLE,
      sampler=(
        reverb.selectors.Uniform()
        if replay.priority_exponent is None
        else reverb.selectors.Prioritized(replay.priority_exponent)
      ),
      remover=reverb.selectors.Fifo(),
      max_size=replay.capacity,
      rate_limiter=rate_limiter,
      signature=signature,
    )
  ]


def sequence_length(config: config_lib.SkillAgentConfig) -> int:
  """Rows of an item: burn-in, the steps of a skill, its last observation."""
  return config.replay.burn_in + config.skill_length + 1


class Stats(NamedTuple):
  """Counts of a replay server.

  Attributes:
    size: trajectories held.
    inserts: trajectories written so far.
    samples: trajectories sampled so far, with repetitions.
  """

  size: int
  inserts: int
  samples: int


def stats(client: reverb.Client) -> Stats | None:
  """Counts of a server; None if it does not answer within `ANSWER_S`."""
  try:
    table = _table_info(client)
  except Exception:  # Any error means that there is no answer.
    return None
  limiter = table.rate_limiter_info
  return Stats(
    table.current_size,
    limiter.insert_stats.completed,
    limiter.sample_stats.completed,
  )


def _table_info(client: reverb.Client) -> Any:
  return client.server_info(timeout=ANSWER_S)[TABLE]


def describe(client: reverb.Client) -> str:
  """Describes what the table holds and what its rate limiter waits for."""
  try:
    table = _table_info(client)
  except Exception as error:  # The caller reports something worse.
    return f'Its server does not answer ({type(error).__name__}).'
  limiter = table.rate_limiter_info
  inserts = limiter.insert_stats.completed
  samples = limiter.sample_stats.completed
  state = (
    f'Table {TABLE!r} holds {table.current_size} of at most {table.max_size} '
    f'trajectories, after {inserts} inserts and {samples} samples.'
  )
  if table.current_size < limiter.min_size_to_sample:
    return (
      f'{state} The learner may sample from {limiter.min_size_to_sample} '
      'on: it waits for inserts.'
    )
  ahead = inserts * limiter.samples_per_insert - samples
  if ahead > limiter.max_diff - limiter.samples_per_insert:
    return f'{state} Actors are ahead of the learner: it waits for samples.'
  if ahead - 1 < limiter.min_diff:
    return f'{state} The learner is ahead of the actors: it waits for inserts.'
  return f'{state} Its rate limiter lets both sides through.'
