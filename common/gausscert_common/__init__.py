"""What agent and coordinator both stand on. Knows neither side."""

VERSION = "0.1.0"
"""The version of the whole distribution; pyproject.toml says the same, a test compares them."""
