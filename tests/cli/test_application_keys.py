"""The certificate by which a plant's OPC UA server knows the gateway, as `keys generate` makes it."""

from __future__ import annotations

import shutil
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from gateway.app import adapters
from gateway.cli.keys import generate_keys
from gateway.settings.configuration import load
from gateway.settings.references import unreadable

EXAMPLE = Path(__file__).parents[2] / "config"
CONNECTION = """
  scada:
    protocol: opcua
    endpoint: opc.tcp://10.20.1.6:4840
    security: Basic256Sha256/SignAndEncrypt
    certificate: file:pki/opcua.der
    key: file:keys/opcua.pem
    trust: file:pki/ems.der
points:"""


def test_a_missing_pair_is_made_and_a_half_is_left_alone(tmp_path: Path) -> None:
    """It names the participant's application URI, its key fits and is private, and the check still names the trust."""
    config, state = tmp_path / "config", tmp_path / "state"
    shutil.copytree(EXAMPLE, config)
    site = config / "sites" / "trent-chp.yaml"
    site.write_text(site.read_text("utf-8").replace("\npoints:", CONNECTION, 1), "utf-8")
    configuration = load(config / "gateway.yaml", adapters=adapters(), state=state, environ={})
    written = generate_keys(configuration, environ={})
    certificate = x509.load_der_x509_certificate((state / "pki/opcua.der").read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == ["urn:smp-gateway:exflex"]
    key = serialization.load_pem_private_key((state / "keys/opcua.pem").read_bytes(), password=None)
    assert key.public_key() == certificate.public_key()
    assert (state / "keys/opcua.pem").stat().st_mode & 0o077 == 0
    assert {state / "pki/opcua.der", state / "keys/opcua.pem"} <= set(written)
    complaints = unreadable(configuration, environ={})
    assert any(line.startswith("site trent-chp, scada: trust: file:") for line in complaints)
    assert not any("opcua" in line for line in complaints)
    (state / "pki/opcua.der").unlink()
    assert state / "pki/opcua.der" not in generate_keys(configuration, environ={})
