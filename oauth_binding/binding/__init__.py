"""What tokens are bound to: the contract of a binding type, and client-request binding."""

from oauth_binding.binding.binder import TokenBinder
from oauth_binding.binding.client_request import ClientRequestBinder
from oauth_binding.binding.semantics import binding_key

__all__ = ["ClientRequestBinder", "TokenBinder", "binding_key"]
