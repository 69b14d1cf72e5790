"""What becomes of a status while somebody abuses the agent."""
