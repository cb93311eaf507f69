"""What a whole configuration says, checked: the only form in which the rest of the gateway sees YAML."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gateway.core.mailbox import MailboxSpec
from gateway.core.mapping import MessageSpec
from gateway.core.places import Array
from gateway.core.point import PointSpec
from gateway.core.profile import Profile
from gateway.core.relay import CallbackRule, RelayRule
from gateway.core.safety import Safety
from gateway.errors import ConfigProblem
from gateway.ports import ConnectionConfig
from gateway.settings.secrets import SecretRef


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """Where we listen; port 0 lets the system choose one."""

    host: str
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class KeysAddress:
    """A JWKS that the SMP publishes at an https URL; ``kept`` is where the last good one is on disk."""

    url: str
    kept: Path

    def __str__(self) -> str:
        return self.url


@dataclass(frozen=True, slots=True, kw_only=True)
class SmpEnvironment:
    """One of the SMP's environments. ``ca`` None trusts the system's CAs; ``callback_keys`` is a JWKS.

    ``proxy`` is the HTTP proxy through which it is reached, also for its keys.

    ``certificate`` and ``key``, both or neither, are what we show it: files, read with settings.secrets.secret_path.
    """

    name: str
    profile: Profile
    profile_file: Path
    base_url: str
    proxy: str | None
    ca: SecretRef | None
    certificate: SecretRef | None
    key: SecretRef | None
    callback_keys: SecretRef | KeysAddress
    rate_limit_per_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackListener:
    """Where the SMP's callbacks arrive; ``public_url`` is how the SMP calls it, without a slash at the end."""

    listen: Listener
    public_url: str
    certificate: SecretRef  # a file: read it with settings.secrets.secret_path
    key: SecretRef
    client_ca: SecretRef | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Contact:
    """A person or desk: a role or a name, or both, and an e-mail address or a telephone number, or both."""

    role: str | None
    name: str | None
    email: str | None
    phone: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Participant:
    """One tenant: its SMP login and its signing key; ``file`` is the YAML that says so."""

    file: Path

    participant: str
    name: str
    environment: str
    username: str
    password: SecretRef
    signing_key: SecretRef
    key_id: str
    algorithm: str
    callback_keys: SecretRef | KeysAddress | None = None  # None: those of the environment
    contacts: tuple[Contact, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteConnection:
    """One protocol link of a site: which adapter, and what it is built from."""

    protocol: str
    config: ConnectionConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteConfig:
    """One participant's plant. ``revision`` is a hash of everything the site's file says, resolved.

    ``relays`` are the rules of ``relay:``, one per connection; a mailbox's own result block is not among them.
    """

    site: str
    participant: str
    environment: str
    description: str
    connections: Mapping[str, SiteConnection]
    points: Mapping[str, PointSpec]
    mailboxes: Mapping[str, MailboxSpec]
    messages: Mapping[str, MessageSpec]
    relays: tuple[RelayRule, ...]
    callback_rules: tuple[CallbackRule, ...] = ()
    revision: str
    safety: Safety = field(default_factory=Safety)
    arrays: Mapping[str, Array] = field(default_factory=dict)
    health: Mapping[str, str] = field(default_factory=dict)  # the words of core.health, each with its point


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseAddress:
    """A PostgreSQL database that holds the journal: its URL without a password, or the secret that is its URL."""

    url: str | SecretRef

    def __str__(self) -> str:
        return str(self.url)


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """Everything the YAML says, read from ``source``; relative files resolve against ``state``.

    ``folder`` is that of ``source``, gateway.yaml. ``patterns`` name every file that was read, as glob patterns.
    """

    source: Path
    folder: Path
    state: Path
    journal: Path | DatabaseAddress
    environments: Mapping[str, SmpEnvironment]
    callbacks: CallbackListener
    health: Listener
    participants: Mapping[str, Participant]
    sites: Mapping[str, SiteConfig]
    retention_us: int | None = None  # how long finished messages are kept; None: for ever
    contacts: tuple[Contact, ...] = ()  # of those who develop and run the gateway
    warnings: tuple[ConfigProblem, ...] = field(default=())
    patterns: tuple[str, ...] = ()

    @property
    def control(self) -> Path:
        """Where the control socket of the gateway on this journal is."""
        return (self.journal.parent if isinstance(self.journal, Path) else self.state) / "control.sock"
