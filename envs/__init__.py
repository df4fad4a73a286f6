"""Environments behind DeepMind's `dm_env` interface.

`factory.make('suite:task')` builds any of them by name. Those that are tabular
(`tabular.TabularEnvironment`) can also be solved exactly and run inside a
compiled JAX program.
"""
