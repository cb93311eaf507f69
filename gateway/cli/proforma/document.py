"""The pro-forma as data: every member comes from the YAML, the wire profile or a file that they name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gateway.cli.proforma.material import Material, Missing, moment
from gateway.core.certificate import Certificate, issuer_of
from gateway.core.jwk import KeyRecord, jwk_of, thumbprint
from gateway.core.jws import CRITICAL, protected_header
from gateway.core.message import ASSETS, UNIT, Kind
from gateway.core.profile import Profile
from gateway.settings.configuration import Configuration, Contact, Participant, SmpEnvironment

# Both of our ends refuse what is older (edge/tls.py).
TLS_VERSIONS = ("TLS 1.2", "TLS 1.3")


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """A contact; ``of`` is ``host`` or ``participant``."""

    of: str
    role: str | None
    name: str | None
    email: str | None
    phone: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call to the SMP; a signature is made for exactly this ``url``."""

    call: str
    method: str
    url: str
    signed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateEntry:
    """A certificate; times as RFC 3339, ``issuer_sha256`` where the issuer's own certificate is in the same file."""

    subject: str
    issuer: str
    hosts: tuple[str, ...]
    serial: str
    not_before: str
    not_after: str
    sha256: str
    issuer_sha256: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SmpSide:
    """What we call; without ``authorities`` the system's own are trusted."""

    base_url: str
    wire_profile: str
    wire_profile_description: str
    calls: tuple[Call, ...]
    tls_versions: tuple[str, ...]
    own_authorities: bool
    authorities: tuple[CertificateEntry, ...]
    client_certificate: CertificateEntry | None
    requests_per_second: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackSide:
    """Where the SMP calls us, with what we serve, and what we accept."""

    url: str
    method: str
    tls_versions: tuple[str, ...]
    certificate: CertificateEntry | None
    message_types: tuple[str, ...]
    largest_body_bytes: int
    signature_form: str
    signature_header: str
    signature_typ: str
    signature_algorithms: tuple[str, ...]
    clock_tolerance_s: float
    trusted_keys: Mapping[str, str]  # key id -> algorithm


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicKeyEntry:
    """The public half of the participant's signing key."""

    thumbprint: str
    jwk: Mapping[str, str]
    pem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningSide:
    """How what we send is signed."""

    form: str
    header: str
    algorithm: str
    key_id: str
    typ: str
    protected_members: tuple[str, ...]
    critical: tuple[str, ...]
    answers_authenticated_by: str
    public_key: PublicKeyEntry | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageKind:
    """A kind of message the SMP takes: at most how much per submission, and which of our messages make it."""

    kind: str
    action: str
    limits: Mapping[str, int]
    made_by: tuple[str, ...]  # site/message


@dataclass(frozen=True, slots=True, kw_only=True)
class Proforma:
    """The whole document; it is complete when nothing is missing."""

    prepared_at: str
    participant: str
    name: str
    environment: str
    other_environments: tuple[str, ...]
    contacts: tuple[Person, ...]
    smp: SmpSide
    callbacks: CallbackSide
    signing: SigningSide
    messages: tuple[MessageKind, ...]
    largest_request_bytes: int
    missing: tuple[Missing, ...]


def proforma_of(configuration: Configuration, participant: Participant, material: Material, *, now: int) -> Proforma:
    """Put the pro-forma together; ``now`` is µs UTC."""
    smp = configuration.environments[participant.environment]
    return Proforma(
        prepared_at=moment(now),
        participant=participant.participant,
        name=participant.name,
        environment=smp.name,
        other_environments=tuple(name for name in sorted(configuration.environments) if name != smp.name),
        contacts=(*_people("host", configuration.contacts), *_people("participant", participant.contacts)),
        smp=_smp(smp, material),
        callbacks=_callbacks(configuration, participant, smp.profile, material),
        signing=_signing(participant, smp.profile, material.key),
        messages=tuple(
            _kind(kind, configuration, participant, smp.profile) for kind in (ASSETS, UNIT, *smp.profile.kinds)
        ),
        largest_request_bytes=smp.profile.limits.request_bytes,
        missing=material.missing,
    )


def _people(of: str, contacts: tuple[Contact, ...]) -> tuple[Person, ...]:
    return tuple(Person(of=of, role=who.role, name=who.name, email=who.email, phone=who.phone) for who in contacts)


def _smp(smp: SmpEnvironment, material: Material) -> SmpSide:
    paths, methods = smp.profile.paths, smp.profile.methods
    calls = (
        ("authenticate", methods.authenticate, paths.authenticate, False),
        ("assets", methods.assets, paths.assets, True),
        ("units", methods.units, paths.units, True),
        ("status", methods.status, paths.status, True),
        *((name, kind.method, kind.path, True) for name, kind in smp.profile.kinds.items()),
    )
    return SmpSide(
        base_url=smp.base_url,
        wire_profile=smp.profile.profile,
        wire_profile_description=smp.profile.description,
        calls=tuple(
            Call(call=call, method=method, url=smp.base_url + path, signed=signed)
            for call, method, path, signed in calls
        ),
        tls_versions=TLS_VERSIONS,
        own_authorities=smp.ca is not None,
        authorities=tuple(_certificate((authority,)) for authority in material.authorities),
        client_certificate=_certificate(material.shown) if material.shown else None,
        requests_per_second=smp.rate_limit_per_s,
    )


def _callbacks(
    configuration: Configuration, participant: Participant, profile: Profile, material: Material
) -> CallbackSide:
    return CallbackSide(
        url=configuration.callbacks.public_url + profile.paths.callback_of(participant.participant),
        method="POST",
        tls_versions=TLS_VERSIONS,
        certificate=_certificate(material.chain) if material.chain else None,
        message_types=profile.result_types,
        largest_body_bytes=profile.limits.callback_bytes,
        signature_form=profile.signature.form,
        signature_header=profile.headers.signature,
        signature_typ=profile.signature.typ_callback,
        signature_algorithms=profile.signature.algorithms,
        clock_tolerance_s=profile.timings.clock_tolerance_us / 1_000_000,
        trusted_keys={key.key_id: key.algorithm for key in material.callback_keys},
    )


def _signing(participant: Participant, profile: Profile, key: KeyRecord | None) -> SigningSide:
    header = protected_header(
        algorithm=participant.algorithm,
        key_id=participant.key_id,
        typ=profile.signature.typ_request,
        iat=0,
        jti="",
        aud="",
    )
    return SigningSide(
        form=profile.signature.form,
        header=profile.headers.signature,
        algorithm=participant.algorithm,
        key_id=participant.key_id,
        typ=profile.signature.typ_request,
        protected_members=tuple(header),
        critical=CRITICAL,
        answers_authenticated_by=profile.signature.responses,
        public_key=None if key is None else _public_key(key),
    )


def _public_key(key: KeyRecord) -> PublicKeyEntry:
    jwk = jwk_of(key.key, key.key_id, key.algorithm)
    pem = key.key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode("ascii")
    return PublicKeyEntry(thumbprint=thumbprint(jwk), jwk=jwk, pem=pem)


def _kind(kind: Kind, configuration: Configuration, participant: Participant, profile: Profile) -> MessageKind:
    limits = profile.limits
    per_submission: Mapping[Kind, Mapping[str, int]] = {
        ASSETS: {"assets": limits.assets_per_submission},
        UNIT: {"units": limits.units_per_submission, "aligned_assets": limits.aligned_assets_per_unit},
    }
    return MessageKind(
        kind=kind,
        action=profile.action(kind),
        limits=per_submission.get(kind, {"bytes": profile.request_content_bytes(kind)}),
        made_by=tuple(
            f"{site.site}/{message.name}"
            for site in configuration.sites.values()
            if site.participant == participant.participant
            for message in site.messages.values()
            if message.kind == kind
        ),
    )


def _certificate(chain: tuple[Certificate, ...]) -> CertificateEntry:
    """The first certificate of a chain."""
    first, issuer = chain[0], issuer_of(chain)
    return CertificateEntry(
        subject=first.subject,
        issuer=first.issuer,
        hosts=first.hosts,
        serial=first.serial,
        not_before=moment(first.not_before),
        not_after=moment(first.not_after),
        sha256=first.sha256,
        issuer_sha256=None if issuer is None else issuer.sha256,
    )
