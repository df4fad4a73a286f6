"""One experiment as a Launchpad program, on one host or several."""
