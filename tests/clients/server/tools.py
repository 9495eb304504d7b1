"""An MCP server with two tools, behind access tokens: Streamable HTTP with JSON answers and no sessions."""

from __future__ import annotations

import json
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from oauth_binding.resource_server import protected_resource

#: tool -> the scopes that it takes
TOOLS = {"whoami": ["read"], "rename": ["read", "write"]}


@csrf_exempt
@require_POST
def tools(request: HttpRequest) -> HttpResponse:
    called = json.loads(request.body).get("params", {}).get("name", "whoami")
    answer: HttpResponse = protected_resource(TOOLS[called])(_answer)(request)
    return answer


def _answer(request: Any) -> HttpResponse:
    message = json.loads(request.body)
    if "id" not in message:
        return HttpResponse(status=202)
    result: dict[str, Any]
    match message["method"]:
        case "initialize":
            result = {
                "protocolVersion": message["params"]["protocolVersion"],
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "tools", "version": "1"},
            }
        case "tools/list":
            result = {"tools": [{"name": name, "inputSchema": {"type": "object"}} for name in TOOLS]}
        case "tools/call":
            said = f"{message['params']['name']}: {request.resource_owner.get_username()}"
            result = {"content": [{"type": "text", "text": said}]}
        case _:
            error = {"code": -32601, "message": "Method not found"}
            return JsonResponse({"jsonrpc": "2.0", "id": message["id"], "error": error})
    return JsonResponse({"jsonrpc": "2.0", "id": message["id"], "result": result})
