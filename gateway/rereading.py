"""How a configuration that is read again comes to bear on what runs; part of the composition root."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from gateway.building import Parts, adapters
from gateway.core.relay import CallbackRule
from gateway.flow.account import Account
from gateway.flow.imports import Tenant
from gateway.flow.serving import Serving
from gateway.settings.configuration import Configuration, load
from gateway.settings.difference import Difference


def tenants_of(configuration: Configuration) -> dict[str, Tenant]:
    """What an import needs to know of each participant."""
    return {
        name: Tenant(environment=each.environment, profile=configuration.environments[each.environment].profile)
        for name, each in configuration.participants.items()
    }


def callback_rules(configuration: Configuration) -> dict[str, list[tuple[str, CallbackRule]]]:
    """What each participant's sites want to know of callbacks that are no verdicts."""
    wanted: dict[str, list[tuple[str, CallbackRule]]] = {}
    for site in configuration.sites.values():
        wanted.setdefault(site.participant, []).extend((site.site, rule) for rule in site.callback_rules)
    return wanted


async def read_again(running: Configuration, environ: Mapping[str, str]) -> Configuration:
    """Read the files anew, beside the loop: a thousand sites take their time."""
    return await asyncio.to_thread(load, running.source, adapters=adapters(), state=running.state, environ=environ)


def applying(
    parts: Parts,
    *,
    serving: Serving,
    accounts: dict[str, Account],
    tenants: dict[str, Tenant],
    others: dict[str, list[tuple[str, CallbackRule]]],
) -> Callable[[Configuration, Difference], Awaitable[None]]:
    """How a configuration that was read again comes to bear; what may fail comes before anything is changed."""

    async def apply(wanted: Configuration, difference: Difference) -> None:
        credentials = [parts.credentials(wanted.participants[name]) for name in difference.participants]
        for identity, signer in credentials:
            account = accounts.get(identity.participant)
            if account is not None:
                account.rekey(identity, signer)
            else:
                accounts[identity.participant] = parts.account(identity, signer)
        tenants.update(tenants_of(wanted))
        others.clear()
        others.update(callback_rules(wanted))
        await serving.reconfigure(wanted.sites)

    return apply
