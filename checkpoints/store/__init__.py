"""Long-term memory: LangGraph's own stores on the database of the conversations.

`service` opens them, by `sqlite` and `postgres`. `items` counts, copies and erases what they hold, by SQL, and imports
none of them. Their tables and their format are LangGraph's.
"""
