"""Values, messages and rows as bytes, and back. Pure: no module here does I/O."""
