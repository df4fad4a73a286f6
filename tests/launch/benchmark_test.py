"""The benchmark measures what it says; how fast is not tested."""

import json
import time

from absl import flags
from absl.testing import flagsaver
import jax.numpy as jnp
import pytest

from launch import benchmark


@pytest.fixture(autouse=True)
def parsed_flags():
  if not flags.FLAGS.is_parsed():
    flags.FLAGS(['test'])


def test_the_best_of_several_tries_counts_and_the_first_call_does_not():
  calls = []

  def call():
    calls.append(None)
    # The first call 'compiles'; the third try is the fastest.
    time.sleep([0.2, 0.06, 0.05, 0.01, 0.07][len(calls) - 1])

  assert 0.01 <= benchmark.best_seconds(call, 4) < 0.05
  assert len(calls) == 5


def test_what_takes_long_is_timed_once(monkeypatch):
  monkeypatch.setattr(benchmark, '_LONG_S', 0.04)
  calls = []

  def call():
    calls.append(None)
    # The first call compiles; after the third there is nothing left to try.
    time.sleep([0.1, 0.01, 0.05, 0.001][len(calls) - 1])

  assert 0.01 <= benchmark.best_seconds(call, 3) < 0.05
  assert len(calls) == 3


def test_a_repeated_step_runs_as_often_as_asked():
  assert benchmark.repeated(lambda x: x + 2, 7)(1) == 15


def test_a_rate_is_that_between_the_first_and_the_last_change():
  # 8 from second 1 to second 3; before and after it only waited.
  readings = [(0, 10), (0.5, 10), (1, 14), (2, 14), (3, 22), (4, 22)]
  assert benchmark.rate(readings) == 4
  assert benchmark.rate([(0, 1), (1, 2), (2, 2)]) == 0


def test_a_run_is_measured_once_all_its_parts_are_at_work(monkeypatch):
  monkeypatch.setattr(benchmark, '_RUN_S', 5.0)
  monkeypatch.setattr(benchmark, '_WARM_UPDATES', 100)
  now = 0.0
  monkeypatch.setattr(benchmark.time, 'perf_counter', lambda: now)

  def read():
    if now < 3:
      return None
    speed = 8 if now < 20 else 80  # Not all parts are there before.
    return benchmark.Counts(speed * now, 10 * now, 2 * now)

  meter = benchmark.Meter(read, lambda: now >= 20)
  while not meter.look():
    assert not meter.is_done
    now += 1
  assert now == 25
  assert meter.speeds() == benchmark.Counts(80, 10, 2)


def test_ratios_of_a_program_are_to_loops_update_and_writer():
  # 4 actors on 2 cores; of DISDAIN's 16 samples an insert of 8 steps, 16 make
  # an update, so 1/8 updates a step are asked for.
  row = benchmark.distributed_row(
    4,
    1,
    benchmark.Counts(steps=1600, updates=100, items=200),
    benchmark.Counts(steps=1000, updates=5000, items=400),
    num_cores=2,
  )
  assert row == {
    'actors': 4,
    'inference servers': 1,
    'steps/s': 1600,
    'of a loop an actor': 0.4,
    'of a loop a core': 0.8,
    'updates/s': 100,
    'of bare update': 0.02,
    'of asked': 0.5,
    'items/s': 200,
    'of bare writer': 0.5,
  }


def test_only_the_parts_asked_for_are_measured(tmp_path, monkeypatch, capsys):
  limits = benchmark.Counts(1000, 5000, 400)
  answers = {
    'measure_limits': limits,
    'distributed_rows': [
      benchmark.distributed_row(1, 0, benchmark.Counts(500, 60, 62), limits, 2)
    ],
  }
  monkeypatch.setattr(
    benchmark,
    '_on_cores',
    lambda cores, measure, *args: answers[measure.__name__],
  )
  path = tmp_path / 'benchmark.json'
  with flagsaver.flagsaver(only=['distributed'], json=str(path)):
    assert benchmark.main(['benchmark']) == 0
  printed = capsys.readouterr().out
  assert 'bare writer' in printed
  assert '0.5' in printed
  limits_title, launchpad_title = json.loads(path.read_text())['sections']
  assert 'limits' in limits_title
  assert 'Launchpad' in launchpad_title


def test_an_unknown_part_ends_in_one_line(capsys):
  with (
    flagsaver.flagsaver(only=['distribted']),
    pytest.raises(SystemExit) as exit_info,
  ):
    benchmark.main(['benchmark'])
  assert exit_info.value.code == 2
  error = capsys.readouterr().err
  assert "Did you mean 'distributed'" in error
  assert error.count('\n') == 1


@pytest.mark.slow
@pytest.mark.launchpad
@pytest.mark.parametrize('num_inference_servers', [0, 1])
def test_a_program_makes_steps_updates_and_items(
  monkeypatch, num_inference_servers
):
  monkeypatch.setattr(benchmark, '_RUN_S', 4.0)
  speeds = benchmark.measure_program(2, num_inference_servers)
  # Items are episodes of 8 steps, and each asks for one update.
  assert speeds.items == pytest.approx(speeds.steps / 8, rel=0.3)
  assert speeds.updates == pytest.approx(speeds.items, rel=0.5)


@pytest.mark.alone
def test_products_are_counted_as_such():
  # The work of a product grows with the cube of its size, its speed does not:
  # were it counted by the square, it would be told to be eight times slower.
  small, large = (benchmark.measure_products(n, 10) for n in (48, 384))
  assert 0.2 < large / small < 5


def test_operations_are_those_of_the_products():
  def call(x):
    return x @ jnp.ones((30, 50))

  # A product and a sum for each.
  assert benchmark.count_operations(call, jnp.ones((20, 30))) == (
    pytest.approx(2 * 20 * 30 * 50, rel=0.1)
  )


@pytest.mark.slow
def test_updates_of_a_learner_with_a_model_stay_below_products(monkeypatch):
  monkeypatch.setattr(
    benchmark,
    '_MODEL_WORLDS',
    (('classic:catch', {'observation': 'board'}, 4),),
  )
  rows = benchmark.model_value_rows(2)
  [products, updates, operations] = [value for _, value, *_ in rows]
  assert 0 < operations < products
  # Of a batch of 16 x 9 steps each of the two hidden layers of 256 that the
  # encoder has is seen forwards twice, and once backwards for its weights.
  least = 3 * 2 * 16 * 9 * 256 * 256 / 1e9
  assert least < operations / updates < 20 * least


@pytest.mark.slow
@pytest.mark.integration
def test_a_run_on_a_control_task_stays_below_its_limits(monkeypatch):
  monkeypatch.setattr(benchmark, '_RUN_S', 4.0)
  limits = benchmark.measure_control_limits(1)
  assert limits.loop < limits.world
  assert limits.updates < limits.products
  rows = {
    name: value for name, value, _, _ in benchmark.control_rows(limits, limits)
  }
  steps, updates = rows['whole run: steps'], rows['whole run: updates']
  assert 0 < steps < limits.loop
  # An update for two steps, within what actors and learner may run ahead.
  assert updates == pytest.approx(0.5 * steps, rel=0.3)


@pytest.mark.slow
@pytest.mark.integration
def test_limits_are_above_what_a_whole_run_does(monkeypatch):
  monkeypatch.setattr(benchmark, '_RUN_S', 4.0)
  limits = benchmark.measure_limits(2)
  for (name, value, *_), limit in zip(
    benchmark.local_rows(limits), limits, strict=True
  ):
    assert 0 < value < limit, name


@pytest.mark.slow
def test_parts_on_device_add_up_to_the_whole(monkeypatch):
  monkeypatch.setattr(benchmark, '_UPDATES', 2_000)
  rows = {
    name.strip(): value for name, value, _, _ in (benchmark.on_device_rows(2))
  }
  whole = 1e6 / rows['full update, one seed']
  acting = rows['acting: 8 steps of 16 worlds']
  learning = rows['learning in all: rewards, discriminators, values']
  assert 0.5 * whole < acting + learning < 2 * whole
  assert rows['rewards of both streams'] < learning
  assert rows['discriminators: gradient and step'] < learning
