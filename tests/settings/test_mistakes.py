from pathlib import Path

import pytest
import yaml

from gateway.settings.configuration import Configuration
from tests.settings.folder import Folder

MARK = "¦"
MISTAKES = yaml.safe_load((Path(__file__).parent / "mistakes.yaml").read_text("utf-8"))


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake["says"][:60])
def test_each_mistake_is_told_once_where_it_stands(folder: Folder, mistake: dict[str, str]) -> None:
    """Pins the sentence and the place of one mistake, and that it causes no other complaint."""
    written = mistake["with"].replace(MARK, "")
    folder.edit(mistake["file"], mistake["replace"], written)
    (said,) = folder.told()
    place, _, sentence = said.partition(": ")
    assert sentence == mistake["says"]
    if MARK in mistake["with"]:
        text = (folder.path / mistake["file"]).read_text("utf-8")
        line, column = folder.position(mistake["file"], text.index(written) + mistake["with"].index(MARK))
        assert place == f"{mistake['file']}:{line}:{column}"


def test_the_example_is_clean(folder: Folder) -> None:
    """Pins that what we ship has neither mistakes nor warnings."""
    assert folder.told() == []


def test_a_key_whose_algorithm_the_profile_does_not_take(folder: Folder) -> None:
    """Pins that a participant cannot be set up to sign what the SMP would refuse."""
    folder.edit("profiles/smp-v1.yaml", "algorithms: [ES256, PS256, RS256, EdDSA]", "algorithms: [PS256, EdDSA]")
    said = "12:14: signing.algorithm: the wire profile does not accept ES256; it accepts PS256, EdDSA"
    files = ("participants/exflex.yaml", "participants/exstor.yaml")
    assert [line.partition(":")[::2] for line in folder.told()] == [(files[0], "11" + said[2:]), (files[1], said)]


def test_a_further_kind_is_known_by_its_profile(folder: Folder) -> None:
    """Pins that a misspelt kind is told with those of the profile, and its content judged by the kind's schema."""
    kind = "{outage: {path: /outages, action: Tell, payload: outage, deduplicated: true, schema: {required: [a]}}}"
    folder.edit("profiles/smp-v1.yaml", "\natomic_batches", f"\nkinds: {kind}\natomic_batches")
    assert folder.told() == []
    further = "messages:\n  o: {kind: outrage, when: {mailbox: plc, kind: 9}, content: {b: 1}}"
    folder.edit("sites/hams-bess.yaml", "messages:", further)
    (told,) = folder.told()
    assert told.endswith("messages.o.kind: 'outrage' is no kind of message; did you mean 'outage'?")
    folder.edit("sites/hams-bess.yaml", "kind: outrage", "kind: outage")
    (told,) = folder.told()
    assert told.endswith("messages.o.content: 'a' is a required property")


def test_all_mistakes_of_all_files_at_once(folder: Folder) -> None:
    """Pins that no file hides another's mistakes, and no part of a file another part's."""
    folder.edit("gateway.yaml", "rate_limit: 50/s", "rate_limit: fast")
    folder.edit("profiles/smp-v1.yaml", "form: detached", "form: general")
    folder.edit("participants/exflex.yaml", "algorithm: ES256", "algorithm: HS256")
    folder.edit("sites/hams-bess.yaml", "word_order: big", "word_order: middle")
    folder.edit("sites/hams-bess.yaml", "layout: standard", "layout: own")
    folder.edit("sites/hams-bess.yaml", "kind: assets", "kind: asset")
    folder.edit("sites/trent-chp.yaml", "participant: exflex", "participant: exflux")
    folder.edit("sites/solent-bess.yaml", "site: solent-bess", "site: [")
    told = folder.told()
    assert [line.split(":")[0] for line in told] == [
        "gateway.yaml",
        "profiles/smp-v1.yaml",
        "participants/exflex.yaml",
        "sites/hams-bess.yaml",
        "sites/hams-bess.yaml",
        "sites/hams-bess.yaml",
        "sites/solent-bess.yaml",
        "sites/trent-chp.yaml",
    ]


def test_secrets_are_never_repeated(folder: Folder) -> None:
    """Pins that an inline secret is refused without appearing in any sentence, whatever form it has."""
    for secret in ("hunter2", "12345", "[hunter2]", "{hunter2: hunter2}", '"hunter2 ${LEAK:-hunter2}"', '"file:"'):
        folder.edit("participants/exstor.yaml", "file:secrets/exstor.password", secret)
        (said,) = folder.told()
        assert "login.password: expected a reference" in said
        assert "hunter2" not in said
        assert "12345" not in said
        folder.edit("participants/exstor.yaml", f"password: {secret}", "password: file:secrets/exstor.password")
    folder.edit("gateway.yaml", "https://smp.example/api", "https://user:hunter2@smp.example/api")
    assert "hunter2" not in "".join(folder.told())


def test_values_come_from_the_environment(folder: Folder) -> None:
    """Pins that hosts, ports and URLs can be set from outside, and are checked like written ones."""
    environ = {"HAMS_BESS_HOST": "127.0.0.1", "HAMS_BESS_PORT": "1502", "POLL": "50ms", "HEALTH_LISTEN": "[::1]:0"}
    configuration = folder.load(environ)
    settings = configuration.sites["hams-bess"].connections["plc"].config.settings
    assert (settings.model_dump()["host"], settings.model_dump()["port"]) == ("127.0.0.1", 1502)
    assert (configuration.health.host, configuration.health.port) == ("::1", 0)
    (said,) = folder.told({**environ, "HAMS_BESS_PORT": "many"})
    assert said.endswith("connections.plc.port: expected a whole number, found 'many'")


def test_relative_paths_resolve_against_the_state_folder(folder: Folder, tmp_path: Path) -> None:
    """Pins where journal, keys and secrets are: under --state, or beside gateway.yaml without it."""
    here, elsewhere = folder.load(), folder.load(state=tmp_path / "state")
    assert here.journal == folder.path.resolve() / "state" / "journal.db"
    assert elsewhere.journal == tmp_path.resolve() / "state" / "state" / "journal.db"
    assert elsewhere.participants["exstor"].signing_key.name == str(tmp_path.resolve() / "state/keys/exstor.pem")


def test_revision_follows_what_the_file_says(folder: Folder) -> None:
    """Pins that comments do not change a site's revision and values do."""

    def revisions(configuration: Configuration) -> tuple[str, str]:
        return configuration.sites["hams-bess"].revision, configuration.sites["trent-chp"].revision

    before = revisions(folder.load())
    folder.edit("sites/hams-bess.yaml", "# One plant.", "# A plant.")
    assert revisions(folder.load()) == before
    folder.edit("sites/hams-bess.yaml", "energyMwh: 100", "energyMwh: 101")
    after = revisions(folder.load())
    assert after[0] != before[0]
    assert after[1] == before[1]


def test_missing_and_unreadable_files(folder: Folder) -> None:
    """Pins that a file that is not there, or not text, is one line and not a traceback."""
    (folder.path / "sites" / "trent-chp.yaml").write_bytes(b"site: \xff\xfe")
    assert folder.told() == [
        "sites/trent-chp.yaml:1:7: the file is not UTF-8 text",
    ]
    (folder.path / "gateway.yaml").unlink()
    assert folder.told() == ["gateway.yaml:1:1: cannot be read: No such file or directory"]


def test_contacts_are_kept_as_written(folder: Folder) -> None:
    """Pins who is named, in which file, and that nobody is invented where the YAML names nobody."""
    assert folder.load().contacts == ()
    folder.edit(
        "gateway.yaml",
        "participants: part",
        "contacts: [{role: developer, email: smp@host.example}]\nparticipants: part",
    )
    folder.edit("participants/exstor.yaml", "login:", "contacts: [{name: Desk, phone: +44 (0)1632 960-000}]\nlogin:")
    configuration = folder.load()
    (developer,), (desk,) = configuration.contacts, configuration.participants["exstor"].contacts
    assert (developer.role, developer.name, developer.email, developer.phone) == (
        "developer",
        None,
        "smp@host.example",
        None,
    )
    assert (desk.name, desk.phone) == ("Desk", "+44 (0)1632 960-000")
    assert configuration.participants["exflex"].contacts == ()
    assert configuration.participants["exflex"].file.name == "exflex.yaml"
