"""The picture of the house, drawn from the imports: ``python -m tests.house.picture`` writes it anew."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Final

from tests.house.rooms import REPOSITORY, ROOMS, modules, own, room_of

FILE: Final = REPOSITORY / "docs" / "images" / "house.svg"

#: What each room has to itself, in pixels; where the names end, and how far the arcs reach.
_ROW: Final = 26
_NAMES: Final = 270
_WIDTH: Final = 600


def floors() -> list[str]:
    """Return the rooms from the ground up."""
    # The face of the server hands on what its rooms have.
    return [room for room in ROOMS if room != "authorization_server"]


def arrows() -> Counter[tuple[str, str]]:
    """Return how many modules of a room import something of another one."""
    found: Counter[tuple[str, str]] = Counter()
    for module, names in modules():
        found.update({(room_of(module), room_of(name)) for name in own(names)})
    there = set(floors())
    return Counter(
        {pair: number for pair, number in found.items() if there.issuperset(pair) and len(set(pair)) == 2}
    )


def lines() -> Iterator[str]:
    rooms = floors()
    height = _ROW * len(rooms) + 40
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}"'
        f' height="{height}" font-family="sans-serif" font-size="13" role="img"'
        ' aria-label="The rooms, from the ground up, and which import which">'
    )
    yield f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>'
    # The ground is at the bottom, as in a house.
    middle = {room: height - 20 - _ROW * place - _ROW // 2 for place, room in enumerate(rooms)}
    for (above, below), number in sorted(
        arrows().items(), key=lambda each: [rooms.index(room) for room in each[0]]
    ):
        top, bottom = middle[above], middle[below]
        reach = _NAMES + 20 + (bottom - top) * (_WIDTH - _NAMES + 80) / (_ROW * len(rooms))
        yield (
            f'<path d="M{_NAMES},{top} C{reach:.0f},{top} {reach:.0f},{bottom} {_NAMES},{bottom}" fill="none"'
            f' stroke="#26736d" stroke-opacity="0.45" stroke-width="{min(1 + number / 4, 5):.1f}">'
            f"<title>{above} imports {below}, in {number} of its modules</title></path>"
        )
    for room, y in middle.items():
        yield f'<rect x="10" y="{y - 10}" width="{_NAMES - 10}" height="20" rx="3" fill="#e8eeee"/>'
        yield f'<text x="20" y="{y + 4}" fill="#1c2b2b">{room.replace(".", "/")}</text>'
    yield "</svg>"


def drawn() -> str:
    """Return the picture as SVG."""
    return "\n".join(lines()) + "\n"


if __name__ == "__main__":
    FILE.write_text(drawn())
