"""Trajectories through Reverb: tables, writer, reader and priorities."""
