"""The public keys of a site that signs what it sends.

A file that was exchanged counts within a second. One that cannot be read, or holds no keys, changes nothing and is told
when that begins and when it ends: the last good keys stay.
"""

from __future__ import annotations

from gateway.core import jws
from gateway.core.secret import Reference
from gateway.errors import LinkLost, SecretError, SignatureRefused, StrictJsonError
from gateway.ports import Resources

_LOOK_US = 1_000_000  # a flood of messages reads the file no more often


class SiteKeys:
    """The keys of one site by their id.

    Raises:
        LinkLost: they cannot be read, so nothing of the site could be believed.
    """

    def __init__(self, resources: Resources, signed_by: Reference, site: str) -> None:
        self._resources = resources
        self._signed_by = signed_by
        self._site = site
        self._failing = False
        self._looked_at = resources.clock.now()
        try:
            self._document = resources.secret(signed_by)
            self._keys = jws.read_jwks(self._document, site, "site")
        except (SecretError, SignatureRefused, StrictJsonError) as error:
            raise LinkLost(f"{signed_by}: the site's public keys cannot be read: {error}") from error

    def find(self, key_id: str) -> jws.KeyRecord | None:
        """The key of this id, or None."""
        now = self._resources.clock.now()
        if now - self._looked_at >= _LOOK_US:
            self._looked_at = now
            self._look()
        return self._keys.get(key_id)

    def _look(self) -> None:
        what = f"{self._site} signed_by"
        try:
            document = self._resources.secret(self._signed_by)
            if document != self._document:
                self._keys = jws.read_jwks(document, self._site, "site")
        except (SecretError, SignatureRefused, StrictJsonError) as error:
            if not self._failing:
                self._resources.event("renewal_failed", what=what, reason=str(error))
            self._failing = True
            return
        if self._failing or document != self._document:
            self._resources.event("renewal_succeeded", what=what)
        self._document, self._failing = document, False


def site_keys(resources: Resources, signed_by: Reference | None, site: str) -> jws.Find | None:
    """How to find the site's keys; None where the site does not sign.

    Raises:
        LinkLost: they cannot be read.
    """
    return None if signed_by is None else SiteKeys(resources, signed_by, site).find
