"""Entry points of the console scripts, such as skills-run-local.

Imports the standard library only: `launch.doctor` has to work where everything
else is broken.
"""

import functools
import runpy


def _run(module: str) -> None:
  """Does what `python -m launch.<module>` does, --help included."""
  runpy.run_module(f'launch.{module}', run_name='__main__', alter_sys=True)


benchmark = functools.partial(_run, 'benchmark')
doctor = functools.partial(_run, 'doctor')
evaluate = functools.partial(_run, 'evaluate')
finetune = functools.partial(_run, 'finetune')
report = functools.partial(_run, 'report')
reproduce = functools.partial(_run, 'reproduce')
run_distributed = functools.partial(_run, 'run_distributed')
run_local = functools.partial(_run, 'run_local')
run_on_device = functools.partial(_run, 'run_on_device')
sweep = functools.partial(_run, 'sweep')
