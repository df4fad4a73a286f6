"""What tests of commands share."""

import pytest


@pytest.fixture
def without_page(monkeypatch):
  """Runs make no page: drawing it takes longer than a short run.

  Pages are for tests/launch/report_test.py and ways_to_train_test.py.
  """
  monkeypatch.setattr('launch.training.finish.write_page', lambda folder: None)
