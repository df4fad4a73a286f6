"""Trains on Vertex AI by Launchpad's own launch type.

  python examples/vertex_ai.py --agent=disdain --num_actors=8 \
    --output_dir=/gcs/BUCKET/runs/x

Every node becomes a container of a custom job; XManager builds the images.
docs/distributed.md says what has to be set up before, and which part of this
could be tried.
"""

from collections.abc import Mapping
from collections.abc import Sequence
import pathlib
from typing import Any

from absl import flags

from launch.cli import command
from launch.distributed import program as program_lib
from launch.training import flags as training_flags
from skills.agents import acme_api

flags.adopt_module_key_flags(training_flags)

_NUM_ACTORS = flags.DEFINE_integer('num_actors', 8, 'Containers that act.')
_GPU = flags.DEFINE_string('gpu', None, "The learner's GPU: t4, v100, a100.")

_ROOT = pathlib.Path(__file__).resolve().parents[1]


def resources(labels: Sequence[str], gpu: str | None) -> Mapping[str, Any]:
  """What the containers of each group of nodes hold and need.

  Vertex AI takes four different kinds at most.
  """
  from launchpad.nodes.python import xm_docker
  from xmanager import xm

  def config(**needs: Any) -> Any:
    return xm_docker.DockerConfig(
      code_directory=str(_ROOT),
      docker_requirements=str(_ROOT / 'requirements.lock'),
      hw_requirements=xm.JobRequirements(ram=16 * xm.GiB, **needs),
    )

  light = config(cpu=4)
  learner = config(cpu=8, **({gpu: 1} if gpu else {}))
  return {label: learner if label == 'learner' else light for label in labels}


def main(argv: Sequence[str]) -> int:
  """Reads the flags and hands the program to Launchpad."""
  with command.exit_on_user_error():
    experiment, _ = training_flags.experiment_from_flags(argv)
    topology = program_lib.Topology(num_actors=_NUM_ACTORS.value)
    program = program_lib.make(experiment, topology).program
  acme_api.launchpad.launch(
    program,
    launch_type='vertex_ai',
    xm_resources=dict(resources(list(program.groups), _GPU.value)),
  )
  return 0


if __name__ == '__main__':
  command.run(main)
