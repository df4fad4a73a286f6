"""What every command does alike: its start and end, and its progress line."""
