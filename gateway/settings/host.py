"""The shape of gateway.yaml and participants/*.yaml, member by member."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, PlainValidator, WithJsonSchema, model_validator

from gateway.core.secret import Reference, SecretReference, reference
from gateway.settings.part import Part
from gateway.settings.quantities import (
    Age,
    Email,
    HttpsUrl,
    Line,
    ListenAddress,
    Name,
    Phone,
    ProxyUrl,
    Rate,
    Text,
    https_url,
)

DATABASE = ("postgresql://", "postgres://")  # how a URL of PostgreSQL begins


class Contact(Part):
    """A person or desk that NGESO may turn to; printed in the technical pro-forma and used for nothing else."""

    role: Line | None = Field(default=None, description="What to turn to them for, such as developer or control room")
    name: Line | None = None
    email: Email | None = None
    phone: Phone | None = None

    @model_validator(mode="after")
    def _somebody_who_can_be_reached(self) -> Self:
        if self.role is None and self.name is None:
            raise ValueError("a contact needs a role or a name")
        if self.email is None and self.phone is None:
            raise ValueError("a contact needs an email or a phone")
        return self


def _journal(value: object) -> Reference | str:
    """Read where the journal is: sqlite:PATH or a PostgreSQL URL as text, or the secret that is such a URL."""
    if isinstance(value, str) and value.startswith(DATABASE):
        try:
            secret = urlsplit(value).password is not None or "password=" in value
        except ValueError:
            raise ValueError("expected postgresql://USER@HOST:PORT/DATABASE") from None
        if secret:
            raise ValueError(
                "a password is never written here: put the whole URL into a secret, and its reference here "
                "(such as file:secrets/journal.url)"
            )
        return value
    if isinstance(value, str) and value.removeprefix("sqlite:").strip() and value.startswith("sqlite:"):
        return value
    try:
        return reference(value)
    except ValueError:
        raise ValueError(
            "expected sqlite:PATH, such as sqlite:state/journal.db, postgresql://USER@HOST:PORT/DATABASE, "
            "or a reference to a secret that holds such a URL"
        ) from None


def _callback_keys(value: object) -> Reference | str:
    """Read where the SMP's public keys are: an https address as text, or a reference."""
    if isinstance(value, str) and value.startswith(("https:", "http:")):
        return https_url(value)
    return reference(value)


Journal = Annotated[
    Reference | str,
    PlainValidator(_journal),
    WithJsonSchema({"type": "string", "pattern": "^(sqlite:|postgresql://|(file|env|credential):).+$"}),
]


CallbackKeys = Annotated[
    Reference | str,
    PlainValidator(_callback_keys),
    WithJsonSchema({"type": "string", "pattern": "^((file|env|credential):|https://).+$"}),
]


# ---------------------------------------------------------------- gateway.yaml
class Environment(Part):
    """One of the SMP's environments."""

    profile: Text = Field(description="The wire profile's file, beside gateway.yaml")
    base_url: HttpsUrl = Field(description="Where the SMP's API is; signed byte for byte, without a '/' at the end")
    ca: SecretReference | None = Field(default=None, description="The CA that the SMP's certificate must come from")
    proxy: ProxyUrl | None = Field(
        default=None, description="The HTTP proxy that leads to it: http://HOST:PORT; what goes through stays TLS"
    )
    certificate: SecretReference | None = Field(default=None, description="The certificate that we show the SMP (PEM)")
    key: SecretReference | None = Field(default=None, description="The private key of that certificate (PEM)")
    callback_keys: CallbackKeys = Field(
        description="The SMP's public keys (JWKS) with which its callbacks are verified: file:PATH, or an https address"
    )
    rate_limit: Rate | None = Field(default=None, description="Requests to this environment, of all participants")

    @model_validator(mode="after")
    def _certificate_with_key(self) -> Self:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key belong together")
        return self


class Callbacks(Part):
    """Our listener for the SMP's callbacks."""

    listen: ListenAddress = Field(description="host:port of the TLS listener")
    public_url: HttpsUrl = Field(description="How the SMP reaches it; part of what callbacks are signed for")
    certificate: SecretReference
    key: SecretReference
    client_ca: SecretReference | None = Field(
        default=None, description="The CA that the SMP's own certificate must come from; without it none is asked for"
    )


class Health(Part):
    """Our listener for /livez, /readyz and /metrics."""

    listen: ListenAddress


class Gateway(Part):
    """gateway.yaml: what all participants and sites share."""

    unbuilt: ClassVar[Mapping[str, str]] = {
        "console": "the operator's console is not built yet",
        "traces": "OpenTelemetry traces are not built yet",
    }
    journal: Journal = Field(
        description="The durable store: sqlite:PATH, postgresql://USER@HOST/DATABASE, or the secret that is such a URL"
    )
    retention: Age | None = Field(
        default=None, description="How long finished messages and their evidence are kept, such as 400d; else for ever"
    )
    smp: dict[Literal["live", "test"], Environment] = Field(min_length=1)
    callbacks: Callbacks
    health: Health
    contacts: list[Contact] = Field(default_factory=list, description="Who develops and runs this gateway")
    participants: Text = Field(description="Which files hold the participants, such as participants/*.yaml")
    sites: Text = Field(description="Which files hold the sites, such as sites/*.yaml")


# ---------------------------------------------------------------- participants/*.yaml
class Login(Part):
    """The participant's login at the SMP."""

    username: Text = Field(min_length=1)
    password: SecretReference


class Signing(Part):
    """The key that signs what is sent for this participant."""

    key: SecretReference
    key_id: Text = Field(description="The 'kid' under which the SMP knows the public key")
    algorithm: Literal["ES256", "PS256", "RS256", "EdDSA"] = "ES256"


class ParticipantFile(Part):
    """participants/NAME.yaml: one tenant."""

    participant: Name
    name: Text
    environment: Literal["live", "test"]
    login: Login
    signing: Signing
    callback_keys: CallbackKeys | None = Field(
        default=None,
        description="The keys of this participant's callbacks, where they have their own",
    )
    contacts: list[Contact] = Field(default_factory=list, description="Whom NGESO may turn to at the participant")
