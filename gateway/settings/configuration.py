"""Load a whole configuration: gateway.yaml, and every profile, participant and site that it names.

Rules
-----
* Every mistake of every file is reported at once; only a file that cannot be parsed hides what else is wrong in it.
* What a configuration says is complete and consistent when :func:`load` returns, and nothing re-checks it later.
* Loading reads the YAML files and nothing else: no secret, no certificate, no socket, no journal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gateway.core.profile import Profile
from gateway.core.secret import Reference
from gateway.errors import ConfigError, ConfigProblem, Place
from gateway.ports import AdapterSpec
from gateway.settings import host
from gateway.settings.alignment import check_alignments
from gateway.settings.crosscheck import crosscheck
from gateway.settings.document import Document, read
from gateway.settings.explain import validate
from gateway.settings.quantities import Address, among, shown
from gateway.settings.resolved import (
    CallbackListener,
    Configuration,
    Contact,
    DatabaseAddress,
    KeysAddress,
    Listener,
    Participant,
    SiteConfig,
    SiteConnection,
    SmpEnvironment,
)
from gateway.settings.secrets import SecretRef, located
from gateway.settings.site import World, assemble, read_site
from gateway.settings.site_parts import SiteParts
from gateway.settings.site_tests import ENDING, run_tests
from gateway.settings.sources import matching, only

__all__ = [
    "CallbackListener",
    "Configuration",
    "Contact",
    "DatabaseAddress",
    "KeysAddress",
    "Listener",
    "Participant",
    "SiteConfig",
    "SiteConnection",
    "SmpEnvironment",
    "load",
    "run_site_tests",
]


def load(
    path: Path, *, adapters: Mapping[str, AdapterSpec], state: Path | None = None, environ: Mapping[str, str]
) -> Configuration:
    """Read gateway.yaml and everything it names.

    Raises:
        ConfigError: with every mistake of every file at once.
    """
    loading = _Loading(folder=path.parent, state=(state or path.parent).resolve(), environ=environ)
    gateway = loading.gateway(path)
    participants = loading.participants()
    sites = loading.sites(adapters)
    problems = sorted(loading.problems, key=_file_order(loading.files))
    if gateway is None or any(not problem.warning for problem in problems):
        raise ConfigError(problems)
    return loading.configuration(gateway, participants, sites, tuple(problems))


def run_site_tests(configuration: Configuration, *, environ: Mapping[str, str]) -> tuple[int, list[ConfigProblem]]:
    """Run the tests that stand beside the site files; how many there were, and what went wrong."""
    paths = [path for pattern in configuration.patterns for path in matching(pattern) if path.name.endswith(ENDING)]
    documents = [read(path.read_bytes(), file=str(path), environ=environ) for path in paths]
    return run_tests(configuration, documents)


@dataclass(slots=True)
class _Loading:
    """One load under way: what was read so far, and what is wrong with it."""

    folder: Path
    state: Path
    environ: Mapping[str, str]
    root: Document | None = None
    files: list[str] = field(default_factory=list)
    problems: list[ConfigProblem] = field(default_factory=list)
    profiles: dict[str, Profile | None] = field(default_factory=dict)
    homes: dict[str, str] = field(default_factory=dict)  # participant -> environment, also of files with mistakes
    unread: bool = False  # whether a file could not be parsed at all

    def gateway(self, path: Path) -> host.Gateway | None:
        self.root = self._document(path)
        if self.root is None:
            return None
        gateway, problems = validate(host.Gateway, self.root.tree, self.root)
        self.problems += problems
        self._profiles(self.root)
        if gateway is not None and _clash(gateway.callbacks.listen, gateway.health.listen):
            said = "callbacks.listen has the same port; both cannot listen there"
            self.problems.append(self.root.problem(("health", "listen"), said))
        return gateway

    def participants(self) -> dict[str, tuple[Document, host.ParticipantFile]]:
        found: dict[str, tuple[Document, host.ParticipantFile]] = {}
        names: dict[str, str] = {}
        for document in self._documents("participants"):
            participant, problems = validate(host.ParticipantFile, document.tree, document)
            self.problems += problems
            self._unique(document, "participant", names)
            environment = document.tree.get("environment")
            self._environment(document, environment)
            self.homes[str(document.tree.get("participant"))] = str(environment)
            self._algorithm(document, participant)
            if participant is not None:
                found[participant.participant] = document, participant
        return found

    def sites(self, adapters: Mapping[str, AdapterSpec]) -> list[SiteParts]:
        world = World(
            adapters=adapters, participants=self.homes, profiles=self.profiles, all_participants=not self.unread
        )
        names: dict[str, str] = {}
        found = []
        for document in self._documents("sites"):
            parts = read_site(document, world)
            crosscheck(parts, world)
            self._unique(document, "site", names)
            found.append(parts)
        check_alignments(found, all_sites=not self.unread)
        for parts in found:
            self.problems += parts.problems
        return found

    def configuration(
        self,
        gateway: host.Gateway,
        participants: Mapping[str, tuple[Document, host.ParticipantFile]],
        sites: Sequence[SiteParts],
        warnings: tuple[ConfigProblem, ...],
    ) -> Configuration:
        """Put together what has no mistakes."""
        assembled = [assemble(parts, self.homes[str(parts.document.tree["participant"])]) for parts in sites]
        return Configuration(
            source=Path(self.files[0]),
            folder=self.folder,
            state=self.state,
            journal=self._journal(gateway.journal),
            environments={name: self._smp(name, smp) for name, smp in gateway.smp.items()},
            callbacks=CallbackListener(
                listen=_listener(gateway.callbacks.listen),
                public_url=gateway.callbacks.public_url,
                certificate=self._secret(gateway.callbacks.certificate),
                key=self._secret(gateway.callbacks.key),
                client_ca=self._optional(gateway.callbacks.client_ca),
            ),
            health=_listener(gateway.health.listen),
            participants={name: self._participant(*found) for name, found in participants.items()},
            sites={site.site: site for site in assembled},
            retention_us=gateway.retention,
            contacts=_contacts(gateway.contacts),
            warnings=warnings,
            patterns=self._patterns(gateway),
        )

    def _patterns(self, gateway: host.Gateway) -> tuple[str, ...]:
        profiles = dict.fromkeys(only(self.folder / smp.profile) for smp in gateway.smp.values())
        found = (str(self.folder / pattern) for pattern in (gateway.participants, gateway.sites))
        return (only(Path(self.files[0])), *profiles, *found)

    def _journal(self, where: Reference | str) -> Path | DatabaseAddress:
        if isinstance(where, Reference):
            return DatabaseAddress(url=self._secret(where))
        return DatabaseAddress(url=where) if where.startswith(host.DATABASE) else self.state / where[len("sqlite:") :]

    def _smp(self, name: str, smp: host.Environment) -> SmpEnvironment:
        profile = self.profiles[name]
        if profile is None:  # its problems have ended the load before
            raise ConfigError(self.problems)
        return SmpEnvironment(
            name=name,
            profile=profile,
            profile_file=self.folder / smp.profile,
            base_url=smp.base_url,
            proxy=smp.proxy,
            ca=self._optional(smp.ca),
            certificate=self._optional(smp.certificate),
            key=self._optional(smp.key),
            callback_keys=self._keys(name, smp.callback_keys),
            rate_limit_per_s=smp.rate_limit,
        )

    def _participant(self, document: Document, entry: host.ParticipantFile) -> Participant:
        return Participant(
            file=Path(document.file),
            participant=entry.participant,
            name=entry.name,
            environment=entry.environment,
            username=entry.login.username,
            password=self._secret(entry.login.password),
            signing_key=self._secret(entry.signing.key),
            key_id=entry.signing.key_id,
            algorithm=entry.signing.algorithm,
            callback_keys=self._own_keys(entry),
            contacts=_contacts(entry.contacts),
        )

    def _profiles(self, root: Document) -> None:
        """Read the wire profile of each environment; one file read once."""
        environments = root.tree.get("smp")
        read_before: dict[str, Profile | None] = {}
        for name, environment in environments.items() if isinstance(environments, dict) else ():
            where = environment.get("profile") if isinstance(environment, dict) else None
            if isinstance(where, str) and where not in read_before:
                read_before[where] = self._profile(root, name, where)
            self.profiles[name] = read_before.get(where) if isinstance(where, str) else None

    def _profile(self, root: Document, name: str, where: str) -> Profile | None:
        path = self.folder / where
        if not path.is_file():
            self.problems.append(root.problem(("smp", name, "profile"), f"there is no file {path}"))
            return None
        document = self._document(path)
        if document is None:
            return None
        profile, problems = validate(Profile, document.tree, document)
        self.problems += problems
        return profile

    def _environment(self, document: Document, name: object) -> None:
        if isinstance(name, str) and name in {"live", "test"} and name not in self.profiles:
            said = f"gateway.yaml has no environment {name} under smp{among(name, self.profiles)}"
            self.problems.append(document.problem(("environment",), said))

    def _algorithm(self, document: Document, participant: host.ParticipantFile | None) -> None:
        profile = self.profiles.get(participant.environment) if participant is not None else None
        if participant is not None and profile is not None:
            algorithm, accepted = participant.signing.algorithm, profile.signature.algorithms
            if algorithm not in accepted:
                said = f"the wire profile does not accept {algorithm}; it accepts {', '.join(accepted)}"
                self.problems.append(document.problem(("signing", "algorithm"), said))

    def _unique(self, document: Document, member: str, names: dict[str, str]) -> None:
        name = document.tree.get(member)
        if isinstance(name, str):
            first = names.setdefault(name, document.file)
            if first != document.file:
                self.problems.append(document.problem((member,), f"{member} {shown(name)} stands in {first} already"))

    def _documents(self, section: str) -> Iterator[Document]:
        """The files that gateway.yaml names under ``section``."""
        root = self.root
        pattern = root.tree.get(section) if root is not None else None
        if root is None or not isinstance(pattern, str):
            return
        paths = matching(str(self.folder / pattern))
        if not any(path.is_file() for path in paths):
            self.problems.append(root.problem((section,), f"no file matches {self.folder / pattern}"))
        for path in paths:
            if not path.name.endswith(ENDING) and path.is_file() and (document := self._document(path)) is not None:
                yield document

    def _document(self, path: Path) -> Document | None:
        self.files.append(str(path))
        try:
            data = path.read_bytes()
        except OSError as error:
            self._blame_file(path, f"cannot be read: {error.strerror or type(error).__name__}")
            return None
        document = read(data, file=str(path), environ=self.environ)
        self.problems += document.problems
        if document.problems and not document.tree:
            self.unread = True
            return None
        return document

    def _blame_file(self, path: Path, message: str) -> None:
        self.files.append(str(path))
        place = Place(file=str(path), line=1, column=1)
        self.problems.append(ConfigProblem(place=place, path="", message=message))

    def _own_keys(self, entry: host.ParticipantFile) -> SecretRef | KeysAddress | None:
        where = entry.callback_keys
        return None if where is None else self._keys(f"participant-{entry.participant}", where)

    def _keys(self, owner: str, where: Reference | str) -> SecretRef | KeysAddress:
        if isinstance(where, Reference):
            return self._secret(where)
        return KeysAddress(url=where, kept=self.state / "callback-keys" / f"{owner}.json")

    def _optional(self, reference: Reference | None) -> SecretRef | None:
        return None if reference is None else self._secret(reference)

    def _secret(self, reference: Reference) -> SecretRef:
        return located(reference, self.state)


def _listener(address: Address) -> Listener:
    return Listener(host=address.host, port=address.port)


def _contacts(entries: Sequence[host.Contact]) -> tuple[Contact, ...]:
    return tuple(Contact(role=who.role, name=who.name, email=who.email, phone=who.phone) for who in entries)


def _clash(one: Address, other: Address) -> bool:
    everywhere = {"0.0.0.0", "::"}  # noqa: S104 -- compared with, not listened on
    return one.port == other.port != 0 and (one.host == other.host or bool({one.host, other.host} & everywhere))


def _file_order(files: Sequence[str]) -> Callable[[ConfigProblem], tuple[int, int, int]]:
    order = {file: number for number, file in reversed(list(enumerate(files)))}
    return lambda problem: (order.get(problem.place.file, len(order)), problem.place.line, problem.place.column)
