"""Commands: everything that one runs, and every command-line flag."""
