"""What a site file says about writing: its own members and those of its points, and whether they can be meant."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.core import safety
from gateway.core.point import Access
from gateway.settings.document import Path
from gateway.settings.models import Condition
from gateway.settings.quantities import among, shown
from gateway.settings.site_parts import SiteParts


def read_safety(parts: SiteParts) -> safety.Safety:
    """What the parts of a site say together; of parts with problems, as far as they could be read."""
    head = parts.head
    if head is None:
        return safety.Safety(limits=dict(parts.limits))
    beat = head.heartbeat
    return safety.Safety(
        dry_run=head.dry_run,
        killed=head.kill_switch is True,
        kill=head.kill_switch.resolved() if isinstance(head.kill_switch, Condition) else None,
        heartbeat=safety.Heartbeat()
        if beat is None
        else safety.Heartbeat(read=beat.read, within_us=beat.within or 0, write=beat.write),
        limits=dict(parts.limits),
    )


def check_safety(parts: SiteParts) -> None:
    """Note every point that cannot be what it is named for."""
    found = read_safety(parts)
    beat = found.heartbeat
    wanted: list[tuple[Path, str | None, Access]] = [
        (("kill_switch", "point"), found.kill.point if found.kill else None, Access.READ),
        (("heartbeat", "read"), beat.read, Access.READ),
        (("heartbeat", "write"), beat.write, Access.WRITE),
    ]
    health = parts.head.health.resolved() if parts.head is not None and parts.head.health is not None else {}
    wanted += [(("health", word), point, Access.WRITE) for word, point in health.items()]
    for name, limits in found.limits.items():
        path: Path = ("points", name)
        wanted.append(
            ((*path, "interlock", "point"), limits.interlock.point if limits.interlock else None, Access.READ)
        )
        wanted.append(((*path, "feedback"), limits.feedback, Access.READ))
        for member in _members(limits) if name in parts.points else ():
            if parts.points[name].access is not Access.WRITE:
                parts.blame((*path, member), f"{member} is about writing, and this point is only read", key=True)
        if limits.step is not None and parts.is_method(name):
            parts.blame((*path, "step"), "step is about a value, and a method has none", key=True)
        elif limits.step is not None and limits.feedback is None:
            said = "step needs feedback: the point that shows the value from which a step is counted"
            parts.blame((*path, "step"), said, key=True)
    for path, point, access in wanted:
        if point is not None:
            _check(parts, path, point, access)


def _members(limits: safety.Limits) -> Mapping[str, object]:
    given = {"step": limits.step, "rate": limits.spacing_us, "feedback": limits.feedback, "interlock": limits.interlock}
    return {name: value for name, value in given.items() if value}


def _check(parts: SiteParts, path: Path, point: str, access: Access) -> None:
    names = parts.names("points")
    if point not in names:
        parts.blame(path, f"there is no point {shown(point)}{among(point, names)}")
    elif point in parts.points and parts.points[point].access is not access:
        needs = "give it access: write" if access is Access.WRITE else "the site writes it: leave out access: write"
        parts.blame(path, f"point {point} cannot be this; {needs}")
    elif parts.is_method(point):
        parts.blame(path, f"point {point} cannot be this; it is a method, which holds no value")
