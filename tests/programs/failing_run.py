"""`launch.run_local` in a world that breaks down after some steps."""

from envs import factory
from envs import gridworlds
from launch import run_local
from launch.cli import command

STEPS = 500


class FailingEnvironment(gridworlds.GridworldEnvironment):
  """A grid whose evaluations work, and whose training does not."""

  _left = STEPS

  def step(self, action):
    self._left -= 1
    if not self._left:
      raise RuntimeError('the world broke down')
    return super().step(action)


def make(task, *, seed):
  return FailingEnvironment(gridworlds.load(task), seed=seed)


factory.SUITES['failing'] = factory.Suite(
  tasks=lambda: tuple(gridworlds.MAPS), make=make
)

if __name__ == '__main__':
  command.run(run_local.main)
