"""What a simulated site shows and trusts inside TLS. Where there is nothing yet, both sides get practice certificates.

The connection's YAML names three files: the CA that the site's certificate comes from, and the gateway's own pair. When
none of them is there, one practice authority makes all, and the site's own pair beside the CA. Real files are never
replaced: then the site shows a pair that was given for it.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from cryptography.x509.oid import ExtendedKeyUsageOID
from pydantic import BaseModel

from gateway.cli.certificates import practice_family
from gateway.cli.keys import write_file
from gateway.core.secret import Reference
from gateway.settings.secrets import located, secret_path

_BOTH = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)
_HERE = ("localhost", "127.0.0.1", "::1")


def site_context(settings: BaseModel, state: Path, *, serves: bool, environ: Mapping[str, str]) -> ssl.SSLContext:
    """The TLS of a simulated site: one that ``serves`` or calls, and takes only the gateway's own certificate.

    Raises:
        ValueError: some of the files are there and others are not, or they cannot be used.
    """
    files = {name: _file(settings, name, state, environ) for name in ("ca", "certificate", "key")}
    ca = files["ca"]
    if ca is None:
        raise ValueError("the connection names no ca, so that no simulated site could be told from another")
    own = ca.with_name(f"{ca.stem}-site.pem"), ca.with_name(f"{ca.stem}-site.key")
    ours = files["certificate"]
    hosts = (*_HERE, *([host] if (host := str(getattr(settings, "host", "") or "")) else []))
    _practise(ca, own, (ours, files["key"]), hosts)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if serves else ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False  # no other certificate than the gateway's own is taken
    context.verify_mode = ssl.CERT_NONE if ours is None else ssl.CERT_REQUIRED
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    try:
        context.load_cert_chain(*own)
        if ours is not None:
            context.load_verify_locations(cafile=ours)
    except (OSError, ssl.SSLError) as error:
        raise ValueError(f"the simulated site cannot use {own[0]} or {ours}: {error}") from error
    return context


def _file(settings: BaseModel, member: str, state: Path, environ: Mapping[str, str]) -> Path | None:
    reference = getattr(settings, member, None)
    return secret_path(located(reference, state), environ=environ) if isinstance(reference, Reference) else None


def _practise(ca: Path, own: tuple[Path, Path], ours: tuple[Path | None, Path | None], hosts: tuple[str, ...]) -> None:
    """Make all files where none is there."""
    pairs = [own, *([(ours[0], ours[1])] if ours[0] is not None and ours[1] is not None else [])]
    wanted = [ca, *(file for pair in pairs for file in pair)]
    missing = [file for file in wanted if not file.exists()]
    if not missing:
        return
    if len(missing) < len(wanted):
        there = next(file for file in wanted if file.exists())
        raise ValueError(
            f"{there} is there and {missing[0]} is not: give the simulated site a certificate of that authority as "
            f"{own[0].name} and {own[1].name}, or take all of them away, and practice ones are made"
        )
    made = practice_family(hosts, ["simulated site", "SMP gateway (practice)"], now=_now(), purposes=_BOTH)
    write_file(ca, made[0].authority, private=False)
    for (certificate, key), member in zip(pairs, made, strict=False):
        write_file(key, member.key, private=True)
        write_file(certificate, member.certificate, private=False)


def _now() -> datetime:
    return datetime.fromtimestamp(time.time(), tz=UTC)
