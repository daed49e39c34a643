"""Conversations over HTTP, for an application of your own: a router of FastAPI, and an application around it.

    app = FastAPI()
    app.include_router(router(agent, user=my_user), prefix="/api")

A message is accepted when it is in the database, and its turn runs apart from the connection. See the guide
`docs/guides/router.md`.
"""

from holdfast.server.web.app import create_app
from holdfast.server.web.caller import Caller, FindUser
from holdfast.server.web.routes import router

__all__ = ["Caller", "FindUser", "create_app", "router"]
