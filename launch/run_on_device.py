"""Trains an agent with environment and learner in one compiled program.

  python -m launch.run_on_device --agent=disdain --env=grid:disdain_release

For environments that are JAX functions. Takes the flags of `launch.run_local`
and writes the same files. Presets have learning rates for replay: give more
steps, or the published rates, as `launch.reproduce` does.
"""

from collections.abc import Sequence

from absl import flags

from launch.cli import command
from launch.training import flags as training_flags
from launch.training import on_device_run

flags.adopt_module_key_flags(training_flags)

_DEFAULT_NUM_STEPS = 8_000_000


def main(argv: Sequence[str]) -> int:
  """Reads the flags and trains."""
  with command.exit_on_user_error():
    experiment, resume = training_flags.experiment_from_flags(
      argv, _DEFAULT_NUM_STEPS, on_device=True
    )
    on_device_run.build(experiment)
    if training_flags.show_settings(experiment, is_continued=resume):
      return 0
    training_flags.prepare_folder(experiment, resume)
  outcome = on_device_run.run(experiment, resume=resume)
  training_flags.report(experiment, outcome.summary)
  return outcome.status


if __name__ == '__main__':
  command.run(main)
