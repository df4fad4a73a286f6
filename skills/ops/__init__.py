"""Arrays in, arrays out: returns, distributions, episodes, moments."""
