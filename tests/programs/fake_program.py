"""A program of nodes that do next to nothing.

  python -m tests.programs.fake_program FOLDER [HOST_INDEX BASE_PORT [stop]]

runs two nodes that do not want to leave, on one host or one on each of two.
With `stop` they leave soon, and the second one says when.
"""

import pathlib
import sys

from absl import app

from launch.cli import command
from launch.distributed import hosts as hosts_lib
from launch.distributed import launcher
from launch.distributed import program
from skills.agents import acme_api
from tests.programs import fake_nodes

lp = acme_api.launchpad

ALONE = hosts_lib.Hosts(('localhost',), 0)
TWO = ('127.0.0.1', '127.0.0.2')


def make(folder, nodes, on=None, stages=None, fixed=()):
  """A program of such nodes.

  Args:
    folder: where they note what they do.
    nodes: function, and further arguments, of each by its label.
    on: number of each one's host, if not 0.
    stages: of each one's stop, if not 0.
    fixed: those that must not be started again.
  """
  made = lp.Program('fake')
  placements = {}
  for label, (function, *arguments) in nodes.items():
    made.add_node(
      lp.PyNode(function, str(folder), label, *arguments), label=label
    )
    name = label if label in ('counter', 'learner') else f'{label}/0'
    placements[name] = program.Placement(
      (on or {}).get(label, 0),
      (stages or {}).get(label, 0),
      {'FAKE_NODE': label},
      may_restart=label not in fixed,
    )
  return program.Program(made, placements, None)


def main(argv):
  folder = pathlib.Path(argv[1])
  nodes = {'one': (fake_nodes.serve, 100.0), 'two': (fake_nodes.stay,)}
  hosts, settings, on = ALONE, launcher.Settings(), {}
  if len(argv) > 2:
    hosts = hosts_lib.Hosts(TWO, int(argv[2]))
    settings = launcher.Settings(base_port=int(argv[3]))
    on = {'two': 1}
  if 'stop' in argv:
    nodes = {'one': (fake_nodes.serve,), 'two': (fake_nodes.stop, 'one begins')}
  with command.caught_signals() as received:
    launcher.Launcher(make(folder, nodes, on), hosts, settings, folder, {}).run(
      received
    )


if __name__ == '__main__':
  app.run(main, argv=sys.argv)
