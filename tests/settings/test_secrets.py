from pathlib import Path

import pytest

from gateway.errors import SecretError
from gateway.settings.references import unreadable
from gateway.settings.secrets import MAX_SECRET_BYTES, SecretRef, SecretSource, read_secret, secret_path
from tests.settings.folder import Folder


def test_reads_each_source(tmp_path: Path) -> None:
    """Pins that the bytes come back as they are, from a file, a variable and a systemd credential."""
    (tmp_path / "token").write_bytes(b"s3cret\n")
    file = SecretRef(source=SecretSource.FILE, name=str(tmp_path / "token"))
    variable = SecretRef(source=SecretSource.ENV, name="TOKEN")
    credential = SecretRef(source=SecretSource.CREDENTIAL, name="token")
    environ = {"TOKEN": "s3cret", "CREDENTIALS_DIRECTORY": str(tmp_path)}
    assert read_secret(file, environ={}) == b"s3cret\n"
    assert read_secret(variable, environ=environ) == b"s3cret"
    assert read_secret(credential, environ=environ) == b"s3cret\n"
    assert secret_path(credential, environ=environ) == tmp_path / "token"


@pytest.mark.parametrize(
    ("source", "name", "said"),
    [
        (SecretSource.FILE, "{tmp}/absent", "No such file or directory"),
        (SecretSource.FILE, "{tmp}", "Is a directory"),
        (SecretSource.FILE, "{tmp}/empty", "the file is empty"),
        (SecretSource.FILE, "{tmp}/large", "larger than"),
        (SecretSource.ENV, "ABSENT", "the environment variable ABSENT is not set"),
        (SecretSource.CREDENTIAL, "token", "CREDENTIALS_DIRECTORY is not set"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, source: SecretSource, name: str, said: str) -> None:
    """Pins that an unusable secret is an error that names the reference and why."""
    (tmp_path / "empty").write_bytes(b" \n")
    (tmp_path / "large").write_bytes(b"x" * (MAX_SECRET_BYTES + 1))
    ref = SecretRef(source=source, name=name.format(tmp=tmp_path))
    with pytest.raises(SecretError, match=said) as caught:
        read_secret(ref, environ={})
    assert str(ref) in str(caught.value)


def test_a_variable_has_no_file() -> None:
    """Pins that a certificate cannot come from a variable, since TLS reads files."""
    with pytest.raises(SecretError, match="a file is needed"):
        secret_path(SecretRef(source=SecretSource.ENV, name="KEY"), environ={"KEY": "x"})


def test_unreadable_lists_every_missing_secret_and_open_key(folder: Folder) -> None:
    """Pins that check can say before the start what run would stumble over."""
    configuration = folder.load()
    missing = unreadable(configuration, environ={})
    assert len(missing) == 11
    for sentence in missing:
        assert "No such file or directory" in sentence
    key = Path(configuration.participants["exstor"].signing_key.name)
    key.parent.mkdir()
    key.write_bytes(b"key")
    key.chmod(0o640)
    (said,) = set(unreadable(configuration, environ={})) - set(missing)
    assert said.startswith("participant exstor: signing key: file:")
    assert "can be read by others" in said
    key.chmod(0o600)
    assert len(unreadable(configuration, environ={})) == 10
