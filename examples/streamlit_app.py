"""A chat page: the reply as it is written, and buttons for what waits. The conversation is there after a reload.

pip install streamlit, then: streamlit run streamlit_app.py
"""

import uuid
from typing import Any

import streamlit as st

from holdfast import Conversation, Pending, Token, build_graph, open_checkpointer


@st.cache_resource
def agent() -> Any:
    """Return the agent of this process. All sessions share its checkpointer, which is closed at the end."""
    return build_graph(checkpointer=open_checkpointer("sqlite:///chat.db"))  # or your own graph


def decide(talk: Conversation, request: Pending) -> None:
    """Show a request with a button for each decision, and carry the decision out."""
    st.write(f"**{request.description}?**")
    if st.button("Approve", key=f"approve {request.interrupt_id}"):
        talk.approve(request.interrupt_id, by=talk.user_id)
        st.rerun()
    if st.button("Reject", key=f"reject {request.interrupt_id}"):
        talk.reject("Not this time.", request.interrupt_id, by=talk.user_id)
        st.rerun()


# The address has the thread, so a reload, a bookmark and another browser show the same conversation.
if "thread" not in st.query_params:
    st.query_params["thread"] = str(uuid.uuid4())
ada = Conversation(agent(), st.query_params["thread"], user_id="ada")  # the user that you have authenticated

for message in ada.history():
    if message.type in {"human", "ai"} and message.text:
        st.chat_message(message.type).write(message.text)
for waiting in ada.pending():
    decide(ada, waiting)
if text := st.chat_input("Refund order 1001"):
    st.chat_message("human").write(text)
    st.chat_message("ai").write_stream(event.text for event in ada.stream(text) if isinstance(event, Token))
    st.rerun()
