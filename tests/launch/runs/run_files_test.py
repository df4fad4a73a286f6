"""Tests of launch/runs/run_files.py."""

from launch.runs import run_files


def test_no_metrics_are_no_rows(tmp_path):
  assert run_files.read_metrics(tmp_path / 'nothing.csv') == []
  (tmp_path / 'empty.csv').write_text('')
  assert run_files.read_metrics(tmp_path / 'empty.csv') == []
