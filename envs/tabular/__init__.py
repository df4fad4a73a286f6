"""Finite Markov decision processes: exact, as JAX functions, behind dm_env."""
