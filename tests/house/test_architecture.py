"""The house: which room may import which, and where its tests are."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib

from tests.house import picture
from tests.house.rooms import REPOSITORY, ROOMS, ROOT, TESTS, imports, modules, own, room_of

#: Folders of tests that are about no one room.
WHOLE = {
    "helpers",
    "sites",
    "clients",
    "browser",
    "cluster",
    "concurrency",
    "ended",
    "house",
    "checklists",
    "docs",
}

#: What the packages are called that the app imports, beside the standard library.
DISTRIBUTIONS = {
    "asgiref": "asgiref",
    "cryptography": "cryptography",
    "django": "Django",
    "jwcrypto": "jwcrypto",
    "jwt": "PyJWT",
    "oauth2_provider": "django-oauth-toolkit",
    "oauthlib": "oauthlib",
    "ua_parser": "ua-parser",
}


def test_every_module_stands_in_a_room() -> None:
    assert [module for module, _names in modules() if module and not room_of(module)] == []


def test_imports_go_one_way() -> None:
    upward = [
        f"{module} imports {name}"
        for module, names in modules()
        for name in own(names)
        if ROOMS.index(room_of(name)) > ROOMS.index(room_of(module))
    ]

    assert upward == []


def test_no_two_modules_import_each_other() -> None:
    paths = {module for module, _names in modules()}
    arrows = {
        module: {
            target
            for name in own(names)
            for target in [name if name in paths else name.rpartition(".")[0]]
            # A package's face hands on what its modules have.
            if target in paths and target != module and not module.startswith(f"{target}.")
        }
        for module, names in modules()
    }
    faces = {module for module in arrows if (ROOT / module.replace(".", "/")).is_dir()}

    def reachable(start: str) -> set[str]:
        seen: set[str] = set()
        pending = [start]
        while pending:
            for target in arrows[pending.pop()] - seen:
                seen.add(target)
                pending.append(target)
        return seen

    assert [module for module in arrows if module not in faces and module in reachable(module)] == []


def test_only_its_own_package_imports_rest_framework() -> None:
    importing = [
        f"{module} imports {name}"
        for module, names in modules()
        for name in names
        if "rest_framework" in name.split(".") and not module.startswith("contrib.rest_framework")
    ]

    assert importing == []


def test_an_api_elsewhere_needs_nothing_of_the_server() -> None:
    """What it needs of django-oauth-toolkit, the header of a challenge, does not load its models."""
    program = """
import sys
import django
from django.conf import settings

settings.configure(INSTALLED_APPS=["oauth_binding.resource_server"], OAUTH_RESOURCE_SERVER={})
django.setup()
import oauth_binding.resource_server.elsewhere

loaded = [name for name in sys.modules if name.startswith("oauth2_provider.models")]
loaded += [name for name in sys.modules if name.startswith(("oauth_binding.models", "oauth_binding.storage"))]
loaded += [name for name in sys.modules if name.startswith("oauth_binding.authorization_server")]
assert not loaded, loaded
"""

    subprocess.run([sys.executable, "-c", program], check=True)


def test_the_semantics_need_no_django() -> None:
    program = """
import runpy, sys
runpy.run_path(sys.argv[1])
assert 'django' not in sys.modules
"""

    subprocess.run([sys.executable, "-c", program, str(ROOT / "binding" / "semantics.py")], check=True)


def test_the_page_about_the_house_has_the_same_rooms() -> None:
    page = (REPOSITORY / "docs/house.md").read_text()

    folders = [room.replace(".", "/") for room in ROOMS if room != "authorization_server"]
    assert re.findall(r"^\| `([\w/]+)/` \|", page, re.MULTILINE) == [
        folder for folder in folders if (ROOT / folder).is_dir()
    ]


def test_the_picture_of_the_house_is_that_of_the_imports() -> None:
    """Where it is not: ``python -m tests.house.picture``."""
    assert picture.FILE.read_text() == picture.drawn()


def test_what_is_imported_is_declared() -> None:
    declared = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["dependencies"]
    names = {re.split(r"[\[<>=]", requirement)[0] for requirement in declared}
    imported = {
        name.split(".")[0]
        for module, found in modules()
        if not module.startswith("contrib.")
        for name in found
    } - {"oauth_binding", *sys.stdlib_module_names}

    assert imported == DISTRIBUTIONS.keys()
    assert names == set(DISTRIBUTIONS.values())


def test_tests_are_laid_out_like_the_code() -> None:
    folders = {".".join(path.parent.relative_to(TESTS).parts) for path in TESTS.rglob("test_*.py")}

    # Beside rooms, what stands in them has folders: packages, and modules such as the API elsewhere.
    names = {*ROOMS, *(module for module, _names in modules() if room_of(module))}
    assert [folder for folder in sorted(folders - names) if folder.split(".")[0] not in WHOLE] == []


def test_what_tests_share_stands_in_helpers() -> None:
    shared = [
        f"{path.relative_to(TESTS)} imports {name}"
        for path in sorted(TESTS.rglob("*.py"))
        for name in imports(ast.parse(path.read_text()))
        if re.match(r"tests(\.\w+)*\.(test_\w+|conftest)\b", name)
    ]

    assert shared == []
