"""Approvals: which tools need one, how a person is asked, and which answers fit."""
