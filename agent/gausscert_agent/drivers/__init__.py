"""The agent's hands: thin wrappers of what is outside, without a thought about transactions."""
