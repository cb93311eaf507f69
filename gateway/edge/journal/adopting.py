"""Assets that were made long ago: told by the participant, kept in the registry, and waited for by units no more."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gateway.core.alignment import Known, Standing
from gateway.core.message import ASSETS, Lane
from gateway.core.record import Adopted, Adoption, Asset, Origin
from gateway.edge.journal import attesting, moving, registry, rows
from gateway.edge.journal.statements import Commit, Reading


def adopt(
    commit: Commit, environment: str, participant: str, adoptions: Sequence[Adoption], *, actor: str, detail: str
) -> Adopted:
    """Keep all of these assets, or tell which contradict what is known and keep none."""
    owner = {"environment": environment, "participant": participant}
    known = [_find(commit, each, owner) for each in adoptions]
    faults = [
        (each.line, said)
        for each, asset in zip(adoptions, known, strict=True)
        if (said := _contradiction(commit, each, asset, owner)) is not None
    ]
    if faults:
        return Adopted(faults=tuple(faults))
    for each in adoptions:
        commit.run("adopt_asset", name=each.name, smp_id=each.smp_id, gsp_group=each.gsp_group, **owner)
    new = sum(asset is None or not asset.there for asset in known)
    if new:
        _audit(commit, owner, actor=actor, detail=f"{new} assets, {detail}")
    others = moving.spread(commit, registry.served(commit, list(_news(commit, adoptions, owner))))
    return Adopted(new=new, known=len(adoptions) - new, others=others)


def _find(reading: Reading, adoption: Adoption, owner: dict[str, str]) -> Asset | None:
    row = reading.one("asset", kind=ASSETS, name=adoption.name, **owner)
    return None if row is None else rows.asset(row)


def _contradiction(reading: Reading, adoption: Adoption, asset: Asset | None, owner: dict[str, str]) -> str | None:
    claimed = reading.one("claim_of_name", kind=ASSETS, name=adoption.name, **owner)
    if claimed is not None:
        lane = Lane.parse(claimed[0])
        return f"{adoption.name!r} is being created by message {lane.message} of site {lane.site}; wait for its verdict"
    if asset is None or not asset.there:
        return None
    if None not in {asset.smp_id, adoption.smp_id} and asset.smp_id != adoption.smp_id:
        return f"{adoption.name!r} is known as {asset.smp_id}, not {adoption.smp_id}"
    group = adoption.gsp_group
    if asset.origin is Origin.CREATED and None not in {asset.gsp_group, group} and asset.gsp_group != group:
        return f"{adoption.name!r} was created in GSP group {asset.gsp_group}, not {group}"
    return None


def _news(commit: Commit, adoptions: Sequence[Adoption], owner: dict[str, str]) -> Iterator[tuple[str, Known]]:
    """The units that needed these assets, each with the asset; their needs of it are gone."""
    for each in adoptions:
        for (unit_id,) in commit.all("needs_of", what="asset", name=each.name, **owner):
            commit.run("delete_need", message_id=unit_id, what="asset", name=each.name)
            yield unit_id, Known(name=each.name, standing=Standing.THERE, gsp_group=each.gsp_group)


def _audit(commit: Commit, owner: dict[str, str], *, actor: str, detail: str) -> None:
    lane = Lane(**owner, site="", message="")
    attesting.audit(commit, lane, None, "assets_adopted", actor=actor, detail=detail)
