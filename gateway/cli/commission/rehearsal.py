"""The stage of a commissioning test against the simulator: the real gateway with the participant's own settings.

The configuration is the vendor's; the SMP's address, our listeners and the journal are replaced by ones on loopback and
in a folder of the rehearsal's own, and no site is connected. Keys and passwords that the configuration keeps in files
are made anew in that folder, so that nothing practised here was signed with a real key.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from gateway.app import gateway, open_control
from gateway.cli.keys import generate_keys
from gateway.cli.practice import HOST, free_ports, write_passwords
from gateway.core.mapping import MessageSpec
from gateway.ports import Control
from gateway.settings.configuration import Configuration, DatabaseAddress
from gateway.settings.resolved import Listener, SiteConfig
from gateway.settings.secrets import SecretRef, SecretSource
from gateway.simulator import SimulatedSmp
from gateway.telemetry import Telemetry

SITE = "commissioning"  # the site's name in the lanes of the steps


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsal:
    """What runs while a commissioning test is rehearsed."""

    control: Control
    smp: SimulatedSmp
    participant: str
    journal: Path | DatabaseAddress


@asynccontextmanager
async def rehearsal(
    configuration: Configuration, participant: str, messages: Mapping[str, MessageSpec]
) -> AsyncIterator[Rehearsal]:
    """Start a simulated SMP, and a gateway for this participant with one site that makes these messages on request.

    ``configuration.state`` is a folder of the rehearsal's own.

    Raises:
        SecretError: a key or certificate cannot be made or read.
        OSError: the state folder cannot be written.
    """
    port, callbacks = free_ports(2)
    staged = _staged(configuration, participant, messages, smp_port=port, callback_port=callbacks)
    (environment,) = staged.environments.values()
    write_passwords(staged)
    generate_keys(staged, practice=True)
    smp = SimulatedSmp(
        profile_path=environment.profile_file,
        state=staged.state,
        callback_url=staged.callbacks.public_url,
        callback_ca=staged.state / "pki" / "host-ca.pem",
        host=HOST,
        port=port,
    )
    with (staged.state / "gateway.log").open("a", encoding="utf-8") as log:
        async with (
            smp,
            gateway(staged, environ=os.environ, telemetry=Telemetry(stream=log)),
            open_control(staged) as control,
        ):
            yield Rehearsal(control=control, smp=smp, participant=participant, journal=staged.journal)


def _staged(
    configuration: Configuration,
    participant: str,
    messages: Mapping[str, MessageSpec],
    *,
    smp_port: int,
    callback_port: int,
) -> Configuration:
    def file(name: str) -> SecretRef:
        return SecretRef(source=SecretSource.FILE, name=str(configuration.state / name))

    who = replace(
        configuration.participants[participant],
        password=file(f"secrets/{participant}.password"),
        signing_key=file(f"keys/{participant}.pem"),
        username=participant,
        callback_keys=None,
    )
    environment = replace(
        configuration.environments[who.environment],
        base_url=f"https://{HOST}:{smp_port}",
        ca=file("pki/smp-ca.pem"),
        certificate=None,
        key=None,
        callback_keys=file("pki/smp.jwks.json"),
    )
    callbacks = replace(
        configuration.callbacks,
        listen=Listener(host=HOST, port=callback_port),
        public_url=f"https://{HOST}:{callback_port}",
        certificate=file("pki/host.pem"),
        key=file("pki/host.key"),
        client_ca=None,
    )
    site = SiteConfig(
        site=SITE,
        participant=participant,
        environment=who.environment,
        description="the steps of a commissioning test",
        connections={},
        points={},
        mailboxes={},
        messages=messages,
        relays=(),
        revision=SITE,
    )
    return replace(
        configuration,
        journal=configuration.state / "journal.db",
        environments={who.environment: environment},
        callbacks=callbacks,
        health=Listener(host=HOST, port=0),
        participants={participant: who},
        sites={SITE: site},
    )
