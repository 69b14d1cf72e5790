"""The transaction as data and pure functions: no I/O, no clock, no randomness, no process in here.

`words` names things, `node` is one participant, `coordinator` drives all of them, `recovery` says
what to do with a transaction somebody else left behind. What is checked here is what ships: the
agent's runner and the coordinator's engine only carry out what these modules decide.
"""
