"""The cluster: a library first, a CLI second."""
