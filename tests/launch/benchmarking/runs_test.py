"""Tests of launch/benchmarking/runs.py."""

from launch.benchmarking import runs


def test_rate_is_measured_from_the_first_to_the_last_change():
  # 8 from second 1 to second 3; before and after it only waited.
  readings = [(0, 10), (0.5, 10), (1, 14), (2, 14), (3, 22), (4, 22)]
  assert runs.rate(readings) == 4
  assert runs.rate([(0, 1), (1, 2), (2, 2)]) == 0


def test_meter_starts_when_all_parts_are_at_work(monkeypatch):
  monkeypatch.setattr(runs, 'RUN_S', 5.0)
  monkeypatch.setattr(runs, 'WARM_UPDATES', 100)
  now = 0.0
  monkeypatch.setattr(runs.time, 'perf_counter', lambda: now)

  def read():
    if now < 3:
      return None
    speed = 8 if now < 20 else 80  # Not all parts are there before.
    return runs.Counts(speed * now, 10 * now, 2 * now)

  meter = runs.Meter(read, lambda: now >= 20)
  while not meter.look():
    assert not meter.is_done
    now += 1
  assert now == 25
  assert meter.speeds() == runs.Counts(80, 10, 2)
