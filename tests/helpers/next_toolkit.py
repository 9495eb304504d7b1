"""The next release of django-oauth-toolkit, made from the installed one.

What is known of it: its modules lie in packages by role, the old paths warn, and are gone in 4.0; and its
tables have more columns. The installed release is copied and laid out like that.
"""

from __future__ import annotations

import ast
import re
import shutil
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Final

import oauth2_provider

from oauth_binding.core.toolkit_paths import IS_BY_ROLE

_PACKAGE: Final = "oauth2_provider"

#: The modules that move, by role.
MOVED: Final = {
    **{
        name: f"core.{name}"
        for name in ("bcp", "checks", "compat", "exceptions", "http", "scopes", "signals", "utils")
    },
    "oauth2_backends": "core.backends_oauthlib",
    **{name: f"authorization_server.{name}" for name in ("admin", "cimd", "dcr", "forms")},
    **{
        f"views.{name}": f"authorization_server.views.{name}"
        for name in ("application", "base", "device", "dynamic_client_registration", "introspect", "token")
    },
    "views.oidc": "authorization_server.oidc.views",
    "views.generic": "resource_server.views.generic",
    **{
        name: f"resource_server.{name}"
        for name in ("backends", "decorators", "middleware", "www_authenticate")
    },
}

_MIXINS: Final = "authorization_server.views.mixins"

#: The modules that are split, with the place of each name that others import from them.
SPLIT: Final = {
    "views.mixins": {
        # The views that import it are the authorization server's.
        "OAuthLibMixin": _MIXINS,
        "OIDCOnlyMixin": "authorization_server.oidc.mixins",
        "OIDCLogoutOnlyMixin": "authorization_server.oidc.mixins",
        **dict.fromkeys(
            (
                "SAFE_HTTP_METHODS",
                "ScopedResourceMixin",
                "ProtectedResourceMixin",
                "ReadWriteScopedResourceMixin",
                "ClientProtectedResourceMixin",
                "ProtectedResourceMetadataMixin",
            ),
            "resource_server.mixins",
        ),
    },
    "views.metadata": {
        "OAuthProtectedResourceMetadataView": "resource_server.views.metadata",
        **dict.fromkeys(
            (
                "_is_implicit_response_type",
                "bcp_filter_response_types",
                "bcp_filter_code_challenge_methods",
                "ServerMetadataViewMixin",
                "OAuthServerMetadataView",
            ),
            "authorization_server.views.metadata",
        ),
    },
}

#: What the parts of OAuthLibMixin are called from then on, and what they have of it; the core has the rest.
_ROLES: Final = {
    "AuthorizationServerViewMixin": (
        "validate_authorization_request",
        "create_authorization_response",
        "create_device_authorization_response",
        "create_token_response",
        "create_revocation_response",
        "create_userinfo_response",
        "error_response",
    ),
    "ResourceServerViewMixin": ("verify_request", "authenticate_client", "unauthenticated_response"),
}

_RENAMED: Final = {"OAuthLibMixin": "AuthorizationServerViewMixin"}

_TEXT: Final = 'models.TextField(blank=True, default="")'
_URL: Final = 'models.URLField(max_length=500, blank=True, default="")'
_AUTHORIZATION: Final = (
    f'models.ForeignKey("{_PACKAGE}.Authorization", null=True, blank=True, on_delete=models.SET_NULL)'
)
_SID: Final = "models.UUIDField(null=True, blank=True, db_index=True)"

#: The columns that the tables get which this app widens, and that of authorization codes, by model.
COLUMNS: Final = {
    "Application": {
        # In its development version.
        "token_endpoint_auth_method": 'models.CharField(max_length=32, blank=True, default="")',
        "client_jwks": _TEXT,
        "client_jwks_uri": _URL,
        "require_pushed_authorization_requests": "models.BooleanField(null=True, blank=True, default=None)",
        # In its open changes: back-channel logout, and JWT access tokens of its own (RFC 9068).
        "backchannel_logout_uri": _URL,
        "jwt_access_token": "models.BooleanField(default=False)",
    },
    # In its open changes: what was authorized, and the session that it was authorized in.
    "AccessToken": {"authorization": _AUTHORIZATION, "sid": _SID},
    "RefreshToken": {"authorization": _AUTHORIZATION},
    "Grant": {
        "authorization": _AUTHORIZATION,
        "exchanged_at": "models.DateTimeField(null=True, blank=True)",
        "sid": _SID,
    },
}

#: Names that a design among its open changes has for columns of tokens: what they are bound to, and for what.
THOUGHT_OF: Final = {"cnf", "authorization_details", "session"}

#: The tables that it gets, in its development version and in its open changes.
TABLES: Final = {
    "oauth2_provider_pushedauthorizationrequest",
    "oauth2_provider_authorization",
    "oauth2_provider_session",
}

_UNIQUE_CHECKSUM: Final = "TokenChecksumField(max_length=64, unique=True)"

_NEW_MODEL: Final = '''

class Authorization(models.Model):
    """What somebody has authorized."""

    id = models.BigAutoField(primary_key=True)
    client_id = models.CharField(max_length=255, db_index=True)
'''

_MIGRATION: Final = """
from django.db import migrations, models
from oauth2_provider.models import TokenChecksumField

class Migration(migrations.Migration):
    dependencies = [("oauth2_provider", {last!r})]
    operations = [
        migrations.CreateModel(
            "Authorization",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("client_id", models.CharField(max_length=255, db_index=True)),
            ],
        ),
        migrations.AlterUniqueTogether("refreshtoken", unique_together=set()),
        migrations.AlterField("refreshtoken", "token_checksum", {unique_checksum}),
        {columns}
    ]
"""

_SHIM: Final = """
import sys
import warnings
from importlib import import_module

{warning}
sys.modules[__name__] = import_module({path!r})
"""

_MIXIN_SHIM: Final = """
import warnings

from oauth2_provider.authorization_server.views.mixins import AuthorizationServerViewMixin
from oauth2_provider.resource_server.mixins import ResourceServerViewMixin
{imports}

{warning}

class OAuthLibMixin(AuthorizationServerViewMixin, ResourceServerViewMixin):
    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        {warning}
"""

# What it has for Django REST framework limits the rate of requests, too.
_FOR_THROTTLING: Final = """
from rest_framework.views import APIView

from oauth2_provider.models import AbstractAccessToken
"""

# Django's admin looks for the module "admin" of an app, which is gone with the shims.
_REGISTER_ADMIN: Final = """
        from django.utils.module_loading import autodiscover_modules

        autodiscover_modules("authorization_server.admin")
"""


def installed_path(name: str) -> str:
    """Return the dotted path of something where the installed release has it.

    :param name: its dotted path before the layout by role, without the package.
    """
    module, _dot, attribute = name.rpartition(".")
    return ".".join((_PACKAGE, MOVED[module] if IS_BY_ROLE else module, attribute))


def lay_out_by_role(directory: Path, *, with_shims: bool = True) -> None:
    """Write the next release into a directory, which a site then has on its path before the installed one.

    :param with_shims: False for 4.0, which has nothing at the old paths.
    """
    target = directory / _PACKAGE
    source = Path(oauth2_provider.__file__).parent
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    paths = [path for path in target.rglob("*.py") if "migrations" not in path.parts]
    for path in paths:
        path.write_text(_with_new_imports(path.read_text(), _dotted(path.relative_to(target))))
    _move(target)
    _split(target)
    _add_columns(target)
    _append(target / "contrib" / "rest_framework" / "__init__.py", _FOR_THROTTLING)
    if with_shims:
        _write_shims(target)
    else:
        _append(target / "apps.py", _REGISTER_ADMIN)


# Imports


def _dotted(path: Path) -> str:
    """Return the package that a module's relative imports start from."""
    return ".".join((_PACKAGE, *path.parent.parts))


def _with_new_imports(text: str, package: str) -> str:
    lines = text.splitlines(keepends=True)
    nodes = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.ImportFrom)]
    for node in sorted(nodes, key=lambda node: node.lineno, reverse=True):
        absolute = node.module or ""
        if node.level:
            absolute = ".".join(filter(None, [*package.split(".")[: -node.level + 1 or None], node.module]))
        if absolute.split(".")[0] != _PACKAGE:
            continue
        assert node.end_lineno is not None
        rest = lines[node.end_lineno - 1].encode()[node.end_col_offset :].decode()
        indent = " " * node.col_offset
        statements = [indent + statement for statement in _imports(absolute, node.names)]
        lines[node.lineno - 1 : node.end_lineno] = ["\n".join(statements) + rest]
    # Import strings, of the default settings for instance.
    old = "|".join(re.escape(name) for name in MOVED)
    return re.sub(
        rf"\b{_PACKAGE}\.({old})\.(?=\w)", lambda found: f"{_PACKAGE}.{MOVED[found[1]]}.", "".join(lines)
    )


def _imports(module: str, aliases: Iterable[ast.alias]) -> Iterable[str]:
    """Yield the statements that import names from where they are now."""
    inside = module.removeprefix(_PACKAGE).removeprefix(".")
    for alias in aliases:
        place, name = inside, alias.name
        if f"{inside}.{name}".removeprefix(".") in MOVED:
            place, _dot, name = MOVED[f"{inside}.{name}".removeprefix(".")].rpartition(".")
        elif inside in SPLIT:
            place, name = SPLIT[inside][name], _RENAMED.get(name, name)
        else:
            place = MOVED.get(inside, inside)
        called = alias.asname or alias.name
        statement = f"from {'.'.join(filter(None, (_PACKAGE, place)))} import {name}"
        yield statement if name == called else f"{statement} as {called}"


# Modules


def _path(target: Path, module: str) -> Path:
    return target.joinpath(*module.split(".")).with_suffix(".py")


def _write(target: Path, module: str, text: str) -> None:
    path = _path(target, module)
    for package in path.relative_to(target).parents:
        (target / package).mkdir(exist_ok=True)
        (target / package / "__init__.py").touch()
    path.write_text(text)


def _append(path: Path, text: str) -> None:
    path.write_text(path.read_text() + text)


def _move(target: Path) -> None:
    for old, new in MOVED.items():
        path = _path(target, old)
        text = path.read_text()
        path.unlink()
        (target / Path(*new.split(".")[:-1])).mkdir(parents=True, exist_ok=True)
        _write(target, new, text)


def _split(target: Path) -> None:
    for old, places in SPLIT.items():
        path = _path(target, old)
        text = path.read_text()
        path.unlink()
        for place in sorted(set(places.values()) - {_MIXINS}):
            (target / Path(*place.split(".")[:-1])).mkdir(parents=True, exist_ok=True)
            _write(target, place, _part(text, {name for name, where in places.items() if where == place}))
        if old == "views.mixins":
            _split_mixin(target, text)


def _split_mixin(target: Path, text: str) -> None:
    """Split OAuthLibMixin by role."""
    of_roles = {method for methods in _ROLES.values() for method in methods}
    core = _part(text, {"OAuthLibMixin"}, without=of_roles)
    _write(target, "core.views", core.replace("class OAuthLibMixin", "class OAuthLibCoreMixin"))
    derived = f"from {_PACKAGE}.core.views import OAuthLibCoreMixin\n\n"
    parts = {}
    mixin = _class(ast.parse(text).body, "OAuthLibMixin")
    for name, methods in _ROLES.items():
        others = {node.name for node in mixin.body if isinstance(node, ast.FunctionDef)} - {*methods}
        role = _part(text, {"OAuthLibMixin"}, without=others)
        parts[name] = derived + role.replace("class OAuthLibMixin", f"class {name}(OAuthLibCoreMixin)")
    _write(target, _MIXINS, parts["AuthorizationServerViewMixin"])
    path = _path(target, "resource_server.mixins")
    protected = re.sub(r"\bOAuthLibMixin\b", "ResourceServerViewMixin", path.read_text())
    path.write_text(f"{parts['ResourceServerViewMixin']}\n{protected}")


def _class(statements: Iterable[ast.stmt], name: str) -> ast.ClassDef:
    (found,) = (node for node in statements if isinstance(node, ast.ClassDef) and node.name == name)
    return found


def _part(text: str, names: Collection[str], *, without: Collection[str] = ()) -> str:
    """Return a module with some of its classes and functions, and all else that it has.

    :param names: of the classes and functions.
    :param without: the methods to leave out.
    """
    lines = text.splitlines(keepends=True)
    definitions = (ast.ClassDef, ast.FunctionDef)
    for node in ast.parse(text).body:
        if isinstance(node, definitions) and node.name not in names:
            _blank(lines, node)
        elif isinstance(node, ast.ClassDef):
            for method in node.body:
                if isinstance(method, ast.FunctionDef) and method.name in without:
                    _blank(lines, method)
    return "".join(lines)


def _blank(lines: list[str], node: ast.ClassDef | ast.FunctionDef) -> None:
    first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
    assert node.end_lineno is not None
    lines[first - 1 : node.end_lineno] = [""] * (node.end_lineno - first + 1)


# Tables


def _add_columns(target: Path) -> None:
    path = target / "models.py"
    lines = path.read_text().splitlines(keepends=True)
    module = ast.parse("".join(lines)).body
    metas = {model: _class(_class(module, f"Abstract{model}").body, "Meta") for model in COLUMNS}
    for model, meta in sorted(metas.items(), key=lambda item: item[1].lineno, reverse=True):
        added = [f"    {name} = {field}\n" for name, field in COLUMNS[model].items()]
        lines[meta.lineno - 1 : meta.lineno - 1] = [*added, "\n"]
    text = "".join(lines)
    text, unique = re.subn(
        r"(class AbstractRefreshToken\(.*?    token_checksum = )TokenChecksumField\(.*?\n    \)\n",
        lambda found: f"{found[1]}{_UNIQUE_CHECKSUM}\n",
        text,
        count=1,
        flags=re.DOTALL,
    )
    text, together = re.subn(
        r"        unique_together = \(\s*\"token_checksum\",\s*\"revoked\",\s*\)\n", "", text
    )
    assert (unique, together) == (1, 1)
    path.write_text(text + _NEW_MODEL)

    columns = (
        f"migrations.AddField({model.lower()!r}, {name!r}, {field}),"
        for model, fields in COLUMNS.items()
        for name, field in fields.items()
    )
    last = max(path.stem for path in (target / "migrations").glob("0*.py"))
    migration = _MIGRATION.format(
        last=last, unique_checksum=_UNIQUE_CHECKSUM, columns="\n        ".join(columns)
    )
    (target / "migrations" / "9999_next_release.py").write_text(migration)


# Shims


def _write_shims(target: Path) -> None:
    for old, new in MOVED.items():
        # Django's admin imports it when it starts.
        warning = "" if old == "admin" else _warning(old)
        _write(target, old, _SHIM.format(warning=warning, path=f"{_PACKAGE}.{new}"))
    for old, places in SPLIT.items():
        imports = "\n".join(
            f"from {_PACKAGE}.{place} import {name}" for name, place in places.items() if name not in _RENAMED
        )
        shim = _MIXIN_SHIM if old == "views.mixins" else "import warnings\n{imports}\n{warning}\n"
        _write(target, old, shim.format(imports=imports, warning=_warning(old)))


def _warning(old: str) -> str:
    message = f"{_PACKAGE}.{old} has moved."
    return f"warnings.warn({message!r}, DeprecationWarning, stacklevel=2)"
