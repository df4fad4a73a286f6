"""Training in one process and on device, and how every run ends."""
