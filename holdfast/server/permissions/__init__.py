"""What a caller may do in LangGraph's server, by every route of it.

`routes` says what each route needs, and all others are closed. `gate` checks that before the server sees the request.
`handlers` is the server's own access control, which lets through what the gate has granted, and nothing else.
"""
