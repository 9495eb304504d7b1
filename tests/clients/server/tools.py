"""An MCP server with two tools, behind access tokens: Streamable HTTP with JSON answers and no sessions."""

from __future__ import annotations

import json
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.generic import View

from oauth_binding.resource_server import ProtectedResourceMixin

#: tool -> the scopes that it takes
TOOLS = {"whoami": ["read"], "rename": ["read", "write"]}


class Tools(ProtectedResourceMixin, View):
    def get_required_scopes(self, request: HttpRequest) -> list[str]:
        message = json.loads(request.body or "{}")
        return TOOLS[message.get("params", {}).get("name", "whoami")]

    def post(self, request: HttpRequest) -> HttpResponse:
        message = json.loads(request.body)
        if "id" not in message:
            return HttpResponse(status=202)
        answer = {"jsonrpc": "2.0", "id": message["id"]}
        return JsonResponse({**answer, "result": self._call(message["method"], message.get("params", {}))})

    def _call(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        if method == "initialize":
            return {
                "protocolVersion": params["protocolVersion"],
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "tools", "version": "1"},
            }
        if method == "tools/list":
            return {"tools": [{"name": name, "inputSchema": {"type": "object"}} for name in TOOLS]}
        user = self.request.resource_owner  # type: ignore[attr-defined]
        return {"content": [{"type": "text", "text": f"{params['name']}: {user.get_username()}"}]}
