"""Reading the bodies of requests."""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from typing import IO, Any

from rest_framework.exceptions import ParseError
from rest_framework.parsers import JSONParser


class BoundedJSONParser(JSONParser):
    """Reads JSON of at most ``DATA_UPLOAD_MAX_MEMORY_SIZE`` bytes, in UTF-8 (RFC 8259 section 8.1)."""

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Return what the body says.

        :raises RequestDataTooBig: it is longer.
        :raises ParseError: it is not JSON, or is nested more deeply than can be read.
        """
        context = {**(parser_context or {}), "encoding": "utf-8"}
        try:
            return super().parse(BytesIO(context["request"].body), media_type, context)
        except RecursionError:
            raise ParseError("JSON parse error - nested too deeply") from None
