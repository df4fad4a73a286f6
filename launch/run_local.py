"""Trains an agent in one process.

  python -m launch.run_local --agent=disdain --env=grid:disdain_release

Writes to --output_dir: config.json, metrics.csv for actor, learner and
evaluator, TensorBoard files, checkpoints, summary.json, pictures and a page.

--set changes a setting and may be repeated; --show_settings lists all of them:

  --set batch_size=32 --set objective.bonus_weight=10 --set replay.capacity=5000

Ctrl-C saves and ends the run; --resume continues it.
"""

from collections.abc import Sequence

from absl import flags

from launch.cli import command
from launch.training import flags as training_flags
from launch.training import local

flags.adopt_module_key_flags(training_flags)


def main(argv: Sequence[str]) -> int:
  """Reads the flags and trains."""
  with command.exit_on_user_error():
    experiment, resume = training_flags.experiment_from_flags(argv)
    local.check(experiment)
    if training_flags.show_settings(experiment, is_continued=resume):
      return 0
    training_flags.prepare_folder(experiment, resume)
  outcome = local.run(experiment)
  training_flags.report(experiment, outcome.summary)
  return outcome.status


if __name__ == '__main__':
  command.run(main)
