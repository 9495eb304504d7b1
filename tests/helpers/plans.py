"""How the database looks for rows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection
from oauth2_provider.models import AccessToken, RefreshToken

from oauth_binding.models import LoginSession, TokenBinding

TABLES = [model._meta.db_table for model in (TokenBinding, AccessToken, RefreshToken, LoginSession)]


@contextmanager
def by_index() -> Iterator[None]:
    """Fail if a query looks through a whole table of bindings, tokens or login sessions."""
    scans = []

    def explain(execute: Any, sql: str, parameters: Any, many: bool, context: Any) -> Any:
        if sql.startswith(("SELECT", "UPDATE", "DELETE")):
            prefix = "EXPLAIN QUERY PLAN" if connection.vendor == "sqlite" else "EXPLAIN"
            execute(f"{prefix} {sql}", parameters, False, context)
            for row in context["cursor"].fetchall():
                if connection.vendor == "mysql":
                    is_scan = row[2] in TABLES and row[3] in ("ALL", "index")
                else:
                    scan = "SCAN {}" if connection.vendor == "sqlite" else "Seq Scan on {} "
                    is_scan = any(scan.format(table) in row[-1] for table in TABLES)
                if is_scan:
                    scans.append(f"{sql}: {row}")
        return execute(sql, parameters, many, context)

    with connection.execute_wrapper(explain):
        yield
    assert scans == []
