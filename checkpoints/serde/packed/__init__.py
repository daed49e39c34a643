"""Packed values, read and changed without unpacking them."""
