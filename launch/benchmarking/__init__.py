"""What `launch.benchmark` measures: a module for each environment or part."""
