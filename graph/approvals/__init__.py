"""Approvals: which calls need one, how a person is asked, and which answers fit."""
