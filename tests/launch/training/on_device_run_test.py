"""Refusals of experiments that cannot run on device."""

import pytest

from launch.runs import experiment as experiment_lib
from launch.training import on_device_run


@pytest.mark.parametrize(
  ('options', 'message'),
  [({'horizon': 12}, 'skill_length must divide the episode length')],
)
def test_experiments_that_cannot_be_compiled_are_refused_before_writing(
  tmp_path, options, message
):
  experiment = experiment_lib.make(
    agent='vic',
    environment='grid:disdain_release',
    environment_options=options,
    num_steps=1000,
    output_dir=str(tmp_path / 'run'),
  )
  with pytest.raises(ValueError, match=message):
    on_device_run.build(experiment)
  assert not (tmp_path / 'run').exists()
