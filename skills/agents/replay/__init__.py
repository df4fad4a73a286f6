"""Replay of trajectories by Reverb: tables, writer, reader and priorities."""
