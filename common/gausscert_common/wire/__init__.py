"""Values to messages and back, errors to gRPC status and back: the only place in common that knows
`gausscert.v1`, imported by the gRPC edges (agent `service`, coordinator `agents`) alone.

`values` and `nodes` have what nodes report, `commands` what coordinators ask for, `errors` what went wrong;
`enums` and `times` are what those stand on.
"""
