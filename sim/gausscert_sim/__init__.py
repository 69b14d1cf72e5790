"""A simulated CM for tests and the local demo. It is not openGauss and says so in every output."""
