"""What tells which process of the site has answered."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final

from django.http import HttpRequest, HttpResponse

#: The header that names the process.
PROCESS: Final = "X-Process"


def name_process(
    get_response: Callable[[HttpRequest], HttpResponse],
) -> Callable[[HttpRequest], HttpResponse]:
    def answer(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        response[PROCESS] = str(os.getpid())
        return response

    return answer
