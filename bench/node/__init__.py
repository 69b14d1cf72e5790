"""What one node costs: Prepare, Swap, the agent's memory and its start, against their bare parts."""
