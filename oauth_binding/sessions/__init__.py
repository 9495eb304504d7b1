"""Login sessions: in which browser a user is signed in, and tokens that last as long as that."""

from oauth_binding.sessions.middleware import LoginSessionMiddleware
from oauth_binding.sessions.sso_session import SSOSessionBinder

__all__ = ["LoginSessionMiddleware", "SSOSessionBinder"]
