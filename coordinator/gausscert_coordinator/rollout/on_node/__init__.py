"""The program that runs on a node while agents are rolled out.

It is sent over ssh as text, for nothing of gausscert need be there yet: the standard library of Python 3.11
and these modules are all it may use. `parcel` sends them, `main` is where they begin.
"""
