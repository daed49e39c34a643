"""What is mounted in LangGraph's server."""
