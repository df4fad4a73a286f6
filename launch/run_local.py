"""Trains an agent in one process.

  python -m launch.run_local --agent=disdain --env=grid:disdain_release

Leaves in --output_dir: config.json, metrics.csv for actor, learner and
evaluator, TensorBoard files, checkpoints, summary.json and pictures.

Any setting can be changed, as often as wanted:

  --set batch_size=32 --set objective.bonus_weight=10 --set replay.capacity=5000

Ctrl-C saves and ends the run; --resume continues it.
"""

from collections.abc import Sequence

from launch import commands
from launch import local

# Enough for DISDAIN to learn most of the release grid's skills.
_DEFAULT_NUM_STEPS = 240_000


def main(argv: Sequence[str]) -> int:
  """Reads the flags and trains."""
  with commands.users_mistakes():
    experiment, resume = commands.experiment_from_flags(
      argv, _DEFAULT_NUM_STEPS
    )
    local.check(experiment)
    commands.prepare_folder(experiment, resume)
  outcome = local.run(experiment, resume=resume)
  commands.report(experiment, outcome.summary)
  return outcome.status


if __name__ == '__main__':
  commands.run(main)
