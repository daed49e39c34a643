"""Servers are killed, and race each other, while clients talk to them over HTTP.

Two replicas serve one database: the router, or LangGraph's server as `holdfast serve` starts it. What clients were told
is in the journal, and what the tools did in the world; at the end both are compared with the database.
"""
