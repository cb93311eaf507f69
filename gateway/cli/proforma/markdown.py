"""The pro-forma as Markdown (CommonMark with GitHub's tables) that also reads well in a terminal.

Text from the YAML and from certificates cannot change the document's form: it is one line, in a code span or escaped.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence

from gateway.cli.proforma.document import (
    CallbackSide,
    CertificateEntry,
    MessageKind,
    Person,
    Proforma,
    SigningSide,
    SmpSide,
)

_SPECIAL = re.compile(r"([\\`*_\[\]<>|#])|(&)(?=[#0-9A-Za-z]+;)")
NOT_GIVEN = "**missing**"


def written(proforma: Proforma) -> str:
    """Write the whole document, with a line end."""
    return "\n".join(_lines(proforma)) + "\n"


def _lines(made: Proforma) -> Iterator[str]:
    yield f"# Technical pro-forma: {plain(made.name)}"
    yield from ("", f"Single Markets Platform, environment {code(made.environment)}. Prepared {made.prepared_at}.")
    yield from _section("Participant")
    yield _item("Name", plain(made.name))
    yield _item("Identifier", code(made.participant))
    yield _item("Environment", code(made.environment))
    if made.other_environments:
        yield _item("Other environments of this host", _codes(made.other_environments))
    yield from _section("Contacts")
    yield from _contacts(made.contacts)
    yield from _section("Calls to the SMP")
    yield from _smp(made.smp)
    yield from _section("Callbacks from the SMP")
    yield from _callbacks(made.callbacks)
    yield from _section("Signature of requests")
    yield from _signing(made.signing)
    yield from _section("Messages and limits")
    yield from _messages(made.messages, made.largest_request_bytes)
    yield from _section("Missing")
    yield from _missing(made)


def _contacts(contacts: Sequence[Person]) -> Iterator[str]:
    if not contacts:
        yield NOT_GIVEN
        return
    rows = [
        (who.of, plain(who.role), plain(who.name), code(who.email, cell=True), plain(who.phone)) for who in contacts
    ]
    yield from _table(("Of the", "Role", "Name", "E-mail", "Telephone"), rows)


def _smp(smp: SmpSide) -> Iterator[str]:
    about = f" ({plain(smp.wire_profile_description)})" if smp.wire_profile_description else ""
    yield _item("Base URL", code(smp.base_url))
    yield _item("Wire profile", code(smp.wire_profile) + about)
    yield _item("TLS", _codes(smp.tls_versions))
    if smp.requests_per_second is not None:
        yield _item("At most", f"{smp.requests_per_second:g} requests per second, of all participants of this host")
    if smp.own_authorities:
        yield _item("The SMP's certificate must come from", "" if smp.authorities else NOT_GIVEN)
        for authority in smp.authorities:
            yield from _certificate(authority, indent="  ")
    else:
        yield _item("The SMP's certificate must come from", "an authority that the operating system trusts")
    if smp.client_certificate is not None:
        yield _item("The SMP is shown", "")
        yield from _certificate(smp.client_certificate, indent="  ")
    yield ""
    rows = [(call.call, call.method, code(call.url, cell=True), "yes" if call.signed else "no") for call in smp.calls]
    yield from _table(("Call", "Method", "Address", "Signed"), rows)


def _callbacks(callbacks: CallbackSide) -> Iterator[str]:
    yield _item("Endpoint", f"{callbacks.method} {code(callbacks.url)}")
    yield _item("Message types", _codes(callbacks.message_types))
    yield _item("Largest body", f"{callbacks.largest_body_bytes} bytes")
    yield _item("TLS", _codes(callbacks.tls_versions))
    yield _item("TLS certificate", "" if callbacks.certificate else NOT_GIVEN)
    if callbacks.certificate is not None:
        yield from _certificate(callbacks.certificate, indent="  ")
    yield _item("Signature", f"{callbacks.signature_form} JWS in the header {code(callbacks.signature_header)}")
    yield _item("Type", code(callbacks.signature_typ))
    yield _item("Audience", code(callbacks.url))
    yield _item("Algorithms accepted", _codes(callbacks.signature_algorithms))
    yield _item("Clock tolerance", f"{callbacks.clock_tolerance_s:g} s either way")
    keys = ", ".join(f"{code(key_id)} ({algorithm})" for key_id, algorithm in callbacks.trusted_keys.items())
    yield _item("Trusted keys of the SMP", keys or NOT_GIVEN)


def _certificate(certificate: CertificateEntry, indent: str) -> Iterator[str]:
    yield indent + _item("Subject", code(certificate.subject))
    if certificate.hosts:
        yield indent + _item("Hosts", _codes(certificate.hosts))
    yield indent + _item("Valid", f"{certificate.not_before} to {certificate.not_after}")
    yield indent + _item("Serial number", code(certificate.serial))
    yield indent + _item("SHA-256", code(certificate.sha256))
    yield indent + _item("Issuer", code(certificate.issuer))
    if certificate.issuer_sha256 is not None:
        yield indent + _item("Issuer's SHA-256", code(certificate.issuer_sha256))


def _signing(signing: SigningSide) -> Iterator[str]:
    yield _item("Form", f"{signing.form} JWS in the header {code(signing.header)}")
    yield _item("Algorithm", code(signing.algorithm))
    yield _item("Key id", code(signing.key_id))
    yield _item("Type", code(signing.typ))
    yield _item("Protected header", f"{_codes(signing.protected_members)}; critical: {_codes(signing.critical)}")
    yield _item("Audience", "the address of the call, as listed above")
    yield _item("Answers are authentic by", code(signing.answers_authenticated_by))
    if signing.public_key is None:
        yield _item("Public key", NOT_GIVEN)
        return
    yield _item("Public key's thumbprint", f"{code(signing.public_key.thumbprint)} (RFC 7638, SHA-256)")
    yield from ("", "The public key as JWK:", "", "```json")
    yield json.dumps(signing.public_key.jwk, indent=2)
    yield from ("```", "", "The same key as PEM:", "", "```text", signing.public_key.pem.strip(), "```")


def _messages(kinds: Sequence[MessageKind], largest: int) -> Iterator[str]:
    rows = [
        (
            kind.kind,
            plain(kind.action),
            ", ".join(_counted(limit, what.replace("_", " ")) for what, limit in kind.limits.items()),
            _codes(kind.made_by, cell=True) or "none",
        )
        for kind in kinds
    ]
    yield from _table(("Kind", "Action", "At most per submission", "Made by (site/message)"), rows)
    yield from ("", _item("Largest request", f"{largest} bytes"))


def _counted(number: int, nouns: str) -> str:
    return f"{number} {nouns.removesuffix('s') if number == 1 else nouns}"


def _missing(made: Proforma) -> Iterator[str]:
    if not made.missing:
        yield "Nothing."
    for number, missing in enumerate(made.missing, start=1):
        yield f"{number}. {plain(missing.what)}  "
        yield f"{' ' * len(str(number))}  mend: {code(missing.mend)}"


def _section(title: str) -> tuple[str, ...]:
    return ("", f"## {title}", "")


def _item(label: str, value: str) -> str:
    return f"- {label}: {value}".rstrip()


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """A table whose columns also line up in a terminal."""
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    for row in (head, ["-" * width for width in widths], *rows):
        yield "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"


def _codes(values: Sequence[str], *, cell: bool = False) -> str:
    return ", ".join(code(value, cell=cell) for value in values)


def code(value: str | None, *, cell: bool = False) -> str:
    """Show a value exactly, in a code span; a table's cell needs its bars escaped even there."""
    text = _one_line(value)
    if not text:
        return ""
    fence = "`" * (max((len(run) for run in re.findall("`+", text)), default=0) + 1)
    room = " " if text.startswith("`") or text.endswith("`") else ""
    span = f"{fence}{room}{text}{room}{fence}"
    return span.replace("|", "\\|") if cell else span


def plain(value: str | None) -> str:
    """Show text as it is: what Markdown would take for itself is escaped."""
    return _SPECIAL.sub(r"\\\g<0>", _one_line(value))


def _one_line(value: str | None) -> str:
    """Fold white space, and take out what a terminal would obey."""
    return "".join(each for each in " ".join((value or "").split()) if each.isprintable())
