"""The public keys of a site that signs what it sends."""

from __future__ import annotations

from gateway.core import jws
from gateway.core.secret import Reference
from gateway.errors import LinkLost, SecretError, SignatureRefused, StrictJsonError
from gateway.ports import Resources


def site_keys(resources: Resources, signed_by: Reference | None, site: str) -> jws.Find | None:
    """The keys by their id; None where the site does not sign.

    Raises:
        LinkLost: they cannot be read, so nothing of the site could be believed.
    """
    if signed_by is None:
        return None
    try:
        return jws.read_jwks(resources.secret(signed_by), site, "site").get
    except (SecretError, SignatureRefused, StrictJsonError) as error:
        raise LinkLost(f"{signed_by}: the site's public keys cannot be read: {error}") from error
