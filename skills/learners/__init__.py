"""Pure update steps."""
