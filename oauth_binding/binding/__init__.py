"""What tokens are bound to: the contract of a binding type, and client-request binding."""

from oauth_binding.binding.binder import TokenBinder
from oauth_binding.binding.semantics import binding_key
from oauth_binding.binding.types.client_request import ClientRequestBinder

__all__ = ["ClientRequestBinder", "TokenBinder", "binding_key"]
