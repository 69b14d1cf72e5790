"""Agents brought onto the nodes over the system's own ssh: looked at, decided, done, proven by health."""
