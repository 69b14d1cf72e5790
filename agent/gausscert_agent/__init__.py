"""One node of a cluster: stages, validates, swaps, stops and starts, as its coordinator commands."""
