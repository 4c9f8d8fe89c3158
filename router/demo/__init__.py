"""`router demo`: the whole story on the nano fleet, told by the real gateway.

`local` starts a gateway on this machine, `asking` sends it tasks through the official client and counts,
`showing` makes tables and the picture, `story` is the order of events.
"""
