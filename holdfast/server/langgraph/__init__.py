"""What is mounted in LangGraph's server: our threads, leases, record of answers and access to them."""
