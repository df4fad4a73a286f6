"""Two jobs of `launch.reproductions.parallel` that do not end.

  python -m tests.programs.waiting_program FOLDER

Each job leaves an empty file in FOLDER, named by its process id.
"""

import functools
import os
import pathlib
import sys
import time

from launch.reproductions import parallel


def wait(folder):
  (folder / str(os.getpid())).touch()
  time.sleep(600)


def main():
  job = functools.partial(wait, pathlib.Path(sys.argv[1]))
  parallel.run_each(dict.fromkeys('ab', job), 2)


if __name__ == '__main__':
  main()
