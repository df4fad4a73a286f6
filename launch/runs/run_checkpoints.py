"""A run's checkpoints: learner, counts, replay and, in one process, the actor.

Local and distributed runs write the same files, so that either can continue
the other's.
"""

from collections.abc import Mapping
from collections.abc import Sequence
import os
import pathlib
import shutil
import sys
import time
from typing import Any

from skills import checkpoints
from skills import loading
from skills.agents import acme_api
from skills.agents.replay import tables as replay_tables
from skills.learners import base

# Reverb's own checkpoints, one folder a server: within the run's folder while
# the server writes them, and within a checkpoint's folder for good.
_REPLAY = 'replay'
_LIVE_REPLAY = '.replay'

# Attempts, of a second each, to reach a server, which may be busy.
_TRIES = 3


class WallTime:
  """Seconds since a run began, those before an interruption included."""

  def __init__(self, earlier_s: float = 0.0):
    """Starts the clock; `earlier_s` is what a checkpoint holds."""
    self._start = time.monotonic() - earlier_s

  def seconds(self) -> float:
    """The seconds until now."""
    return time.monotonic() - self._start


def newest(folder: pathlib.Path) -> pathlib.Path | None:
  """The newest checkpoint of the run in `folder`; None if it has none."""
  try:
    return checkpoints.latest(folder / checkpoints.FOLDER)
  except checkpoints.CheckpointError:
    return None


def counts(folder: pathlib.Path) -> dict[str, int]:
  """The counts of the run in `folder` at its newest checkpoint.

  All counts are there from the start: a CSV file's first row decides its
  columns.
  """
  checkpoint = newest(folder)
  saved = checkpoints.read_meta(checkpoint)['counts'] if checkpoint else {}
  return {'actor_episodes': 0, 'actor_steps': 0, 'learner_steps': 0} | saved


def save(
  folder: pathlib.Path,
  state: base.LearnerState,
  counted: Mapping[str, int],
  wall_time_s: float,
  replay_clients: Sequence[acme_api.reverb.Client],
  actor: dict[str, Any] | None = None,
) -> None:
  """Writes a checkpoint.

  Args:
    folder: of the run.
    state: of the learner.
    counted: 'actor_steps' and the like; 'learner_steps' are the state's.
    wall_time_s: seconds since the run began.
    replay_clients: of the replay servers, in their order.
    actor: what a single actor needs to go on where it was, as JSON can hold it;
      None if actors begin anew.

  Raises:
    RuntimeError: if a replay server writes where this process cannot see it.
  """
  # A server may be killed at any moment. A run goes on with all of its replay
  # or with none, so that what the others hold is then of no use either.
  replay_parts = []
  for i, client in enumerate(replay_clients):
    part = _write_replay(folder, i, client)
    if part is None:
      print(
        f'replay/{i} is away: this checkpoint is without replay.',
        file=sys.stderr,
      )
      replay_parts = []
      break
    replay_parts.append(part)

  def with_replay(unfinished: pathlib.Path) -> None:
    for i, part in enumerate(replay_parts):
      target = unfinished / _REPLAY / str(i)
      target.mkdir(parents=True)
      try:
        os.rename(part, target / part.name)
      except OSError as error:
        raise RuntimeError(
          f'replay/{i} wrote its checkpoint to {part}, which the learner '
          f'cannot move ({error.strerror}): the output folder must be on one '
          'file system that all hosts share.'
        ) from error

  counted = {**counted, 'learner_steps': int(state.steps)}
  checkpoints.save(
    folder / checkpoints.FOLDER,
    counted['actor_steps'],
    {loading.LEARNER: state},
    {'counts': counted, 'wall_time_s': wall_time_s, 'actor': actor},
    extra=with_replay,
  )


def _write_replay(
  folder: pathlib.Path, shard: int, client: acme_api.reverb.Client
) -> pathlib.Path | None:
  """Path of a replay server's new checkpoint; None if it is away."""
  # A call to a server that is away would wait for it: find out first.
  if not any(replay_tables.stats(client) for _ in range(_TRIES)):
    return None
  try:
    written = pathlib.Path(client.checkpoint())
  except RuntimeError:  # It went meanwhile.
    return None
  # A server that came back has removed what the one before it wrote.
  was_replaced = _live(folder, shard).is_dir() and not written.exists()
  return None if was_replaced else written


def load(
  checkpoint: pathlib.Path, like: base.LearnerState
) -> tuple[base.LearnerState, dict[str, Any]]:
  """Reads the learner's state, and the counts and times beside it.

  Args:
    checkpoint: its folder.
    like: a state of the learner, or its shapes.

  Raises:
    CheckpointError: if it cannot be used.
  """
  state, meta = checkpoints.load(checkpoint, {loading.LEARNER: like})
  return state[loading.LEARNER], meta


def make_replay_server(
  folder: pathlib.Path,
  shard: int,
  tables: Sequence[acme_api.reverb.Table],
  port: int | None = None,
) -> acme_api.reverb.Server:
  """Starts a replay server with its contents in the newest checkpoint.

  Args:
    folder: of the run.
    shard: number of the server.
    tables: that it serves.
    port: None for any.
  """
  live = _live(folder, shard)
  shutil.rmtree(live, ignore_errors=True)
  live.mkdir(parents=True)
  saved = None
  checkpoint = newest(folder)
  if checkpoint is not None and (checkpoint / _REPLAY / str(shard)).is_dir():
    [saved] = (checkpoint / _REPLAY / str(shard)).iterdir()
  return acme_api.reverb.Server(
    tables,
    port=port,
    checkpointer=acme_api.checkpointers.DefaultCheckpointer(
      str(live), fallback_checkpoint_path=str(saved) if saved else None
    ),
  )


def _live(folder: pathlib.Path, shard: int) -> pathlib.Path:
  return folder / _LIVE_REPLAY / str(shard)


def check_shards(folder: pathlib.Path, num_shards: int) -> None:
  """Refuses to continue a run with another number of replay servers.

  Raises:
    ValueError: if the newest checkpoint was written with another number.
  """
  checkpoint = newest(folder)
  if checkpoint is None or not (checkpoint / _REPLAY).is_dir():
    return
  saved = len(list((checkpoint / _REPLAY).iterdir()))
  if saved != num_shards:
    raise ValueError(
      f'{folder} was saved with {saved} replay servers and cannot continue '
      f'with {num_shards}: what they hold is not moved between them. Use '
      f'run_distributed with --num_replay_shards={saved}.'
    )


def remove_leftovers(folder: pathlib.Path) -> None:
  """Removes replay checkpoints that became part of no checkpoint."""
  shutil.rmtree(folder / _LIVE_REPLAY, ignore_errors=True)
