"""The builder serves Acme's own layouts as they are."""

import json
import os
import pathlib
import subprocess
import sys

import jax
import numpy as np
import pytest

from skills.agents import acme_api
from skills.agents import builder as builder_lib
from skills.agents import learning
from tests.programs import counting

pytestmark = pytest.mark.integration

ROOT = pathlib.Path(__file__).resolve().parents[2]
T = counting.SKILL_LENGTH


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
  """Where Acme would write by default, if it were let."""
  monkeypatch.setenv('HOME', str(tmp_path / 'home'))
  yield tmp_path / 'home'
  assert not (tmp_path / 'home' / 'acme').exists()


@pytest.mark.parametrize(
  ('kind', 'fields'),
  [
    ('queue', {}),
    ('uniform', counting.WITH_MODEL),
    pytest.param('uniform', {}, marks=pytest.mark.slow),
  ],
)
def test_the_local_layout_acts_and_learns_in_turns(kind, fields):
  # The layout keeps the ratio by itself, so replay must not.
  min_size = 6
  config = counting.make_config(
    batch_size=3,
    replay={
      'kind': kind,
      'capacity': 100,
      'min_size': min_size,
      'updates_per_environment_step': None,
      'timeout_s': 10.0,
    },
    **fields,
  )
  log = counting.Log()
  builder = builder_lib.SkillBuilder(config, logger_fn=lambda: log)
  environment = counting.CountingEnvironment([T, 2 * T, T - 1])
  agent = builder_lib.make_agent(config, counting.SPEC)
  counter = acme_api.counting.Counter()
  layout = acme_api.local_layout.LocalLayout(
    0,
    counting.SPEC,
    builder,
    agent,
    builder.make_policy(agent),
    workdir=None,
    # Counts steps; replay holds skills.
    min_replay_size=(min_size + 2) * T,
    # One update of 3 skills for every 12 steps.
    samples_per_insert=0.25,
    batch_size=config.fetch_size,
    counter=counter,
  )
  try:
    [before] = layout.get_variables([learning.POLICY])
    acme_api.environment_loop.EnvironmentLoop(
      environment, layout, logger=acme_api.loggers.NoOpLogger()
    ).run(num_episodes=30)
    [after] = layout.get_variables([learning.POLICY])
  finally:
    layout._replay_server.stop()
  # 30 episodes are 40 skills, 3 of them a batch.
  steps = counter.get_counts()['steps']
  assert len(log.rows) == steps
  if kind == 'queue':
    assert steps in (12, 13)  # The reader may hold an item in its hand.
  else:
    assert steps >= (10 * (4 * T - 1) - (min_size + 2) * T) // 12
  assert any(
    not np.array_equal(x, y)
    for x, y in zip(jax.tree.leaves(before), jax.tree.leaves(after))
  )


@pytest.mark.launchpad
def test_the_distributed_layout_learns_and_stops_by_itself(tmp_path, home):
  result = subprocess.run(
    [sys.executable, '-m', 'tests.programs.layouts_program', str(tmp_path)],
    cwd=ROOT,
    env={
      **os.environ,
      'HOME': str(home),
      'LAUNCHPAD_LOGGING_DIR': str(tmp_path / 'logs'),
    },
    stdin=subprocess.DEVNULL,
    capture_output=True,
    text=True,
    timeout=200,
    check=False,
  )
  # 137 would mean that a node was late and everything was killed.
  assert result.returncode == 0, result.stderr[-4000:]
  assert 'stopped after' in result.stdout
  counts = json.loads((tmp_path / 'counts.json').read_text())
  assert counts['actor_steps'] >= 400
  assert counts['learner_steps'] >= 20
  assert 'Traceback' not in result.stderr
