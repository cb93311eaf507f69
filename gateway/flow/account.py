"""One participant's account at the SMP: its token, renewed off every message's path, and why it is held when it is.

Rules
-----
* One login at a time for all lanes of the participant. A token is renewed at a share of its life, so that a login is
  never on a message's path.
* A refused login, a second 401 on a fresh token, or a 403 holds the participant: an alarm, growing pauses, and after
  :data:`LOGIN_TRIES` refusals no more tries until an operator releases it, so that the account is not locked.
* Held messages stay ACCEPTED.
* A login that fails otherwise backs off here, not at the gate: one participant's trouble never pauses the others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from gateway.core import answer, envelope, jws
from gateway.core.circuit import outcome_of
from gateway.core.message import Attempt, Kind, Lane
from gateway.core.profile import Profile
from gateway.core.turns import Errand, Urgency
from gateway.errors import SignatureRefused
from gateway.flow.agreement import PROBE_S
from gateway.flow.gate import STATUS, Gate, Permit, login_errand
from gateway.flow.trouble import Trouble
from gateway.ports import Clock, Entropy, KeyRing, Reply, SignedCall, Signer, Transport

LOGIN_TRIES = 3
_HOLD_PAUSES_S = (30.0, 120.0)  # after the first and the second refusal; after the third nobody tries again
_FIRST_LOGIN_PAUSE_S = 1.0  # after a login that was neither granted nor refused
_LONGEST_LOGIN_PAUSE_S = 60.0
_ENDPOINT_PAUSE_S = 300.0  # a wrong path is mended by people; trying again twelve times an hour locks nobody out


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who speaks, with which words, and where: all that does not change while the process runs."""

    participant: str
    environment: str
    profile: Profile
    base_url: str
    callback_audience: str
    username: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """A token and the number of the login that brought it, since an SMP may give out the same token twice."""

    value: str
    login: int

    def __repr__(self) -> str:
        """Leave the secret out of logs and tracebacks."""
        return f"Ticket(login={self.login})"


class Account:
    """What lanes, reconciler and receiver need of one participant."""

    def __init__(
        self,
        identity: Identity,
        *,
        transport: Transport,
        signer: Signer,
        callback_keys: KeyRing,
        gate: Gate,
        clock: Clock,
        entropy: Entropy,
        event: Callable[..., None],
    ) -> None:
        self.identity = identity
        self.profile = identity.profile
        self.transport = transport
        self.signer = signer
        self._signers = {signer.key_id: signer}  # an attempt is signed with the key that its commit named
        self.callback_keys = callback_keys
        self.gate = gate
        self.held: str | None = None
        self._troubles: dict[str, Trouble] = {}
        self._clock = clock
        self._entropy = entropy
        self._event = event
        self._ticket: Ticket | None = None
        self._logins = 0
        self._refusals = 0
        self._refused: dict[str, int] = {}  # submission id -> the login whose token was answered 401
        self._enquiries_refused = 0  # logins that a 401 to a status call led to, since one passed
        self._enquiry_login_at = 0.0  # of the loop's clock: before then another one leads to none
        self._fresh = asyncio.Event()
        self._renew = asyncio.Event()
        self._released = asyncio.Event()
        self._held_kinds: dict[Kind, float] = {}
        gate.agreement.on_end(self._renew.set)  # a login is not signed: its answer tells when the clocks agree again

    @property
    def ticket(self) -> Ticket | None:
        """The token to use now, or None while there is none or the participant is held."""
        return self._ticket if self.held is None else None

    @property
    def degraded(self) -> tuple[str, ...]:
        """What does not work now for this participant, for `/readyz`."""
        what = f"participant {self.identity.participant}"
        return tuple(trouble.line(what) for trouble in self._troubles.values() if trouble.reason)

    def can_send(self, kind: Kind) -> bool:
        """Whether a submission of this kind could leave right now without waiting for anything."""
        return self._at_hand(kind) and self.gate.admits(kind)

    def permit(self, lane: Lane, kind: Kind) -> Permit | None:
        """A permit for a submission of this kind at once, or None when it would have to wait for anything."""
        if not self._at_hand(kind):
            return None
        return self.gate.try_enter(self._errand(lane, kind, Urgency.FRESH))

    async def ready(self, lane: Lane, kind: Kind, accepted_at: int) -> Permit:
        """Wait until a submission of this kind may leave; ``accepted_at`` tells fresh messages from the backlog."""
        return await self._wait(
            lane, kind, lambda: Urgency.FRESH if accepted_at >= self.gate.back_at else Urgency.BACKLOG
        )

    async def enquire(self, lane: Lane, endpoint: str = STATUS) -> Permit:
        """Wait until a status call, or a submission that is sent again (``endpoint`` its kind), may leave."""
        return await self._wait(lane, endpoint, lambda: Urgency.ENQUIRY)

    async def _wait(self, lane: Lane, endpoint: str, urgency: Callable[[], Urgency]) -> Permit:
        while True:
            if pause := self._endpoint_pause(endpoint):
                await asyncio.sleep(pause)
            elif self.ticket is None:
                await self._fresh.wait()
            elif not self.gate.agreement.holds:
                await self.gate.agreement.wait()
            else:
                permit = await self.gate.enter(self._errand(lane, endpoint, urgency()))
                if self._at_hand(endpoint):
                    return permit
                permit.unused()

    def paced(self, permit: Permit, reply: Reply, *, clear: bool) -> None:
        """Let the gate learn from an answer; ``clear`` says that it could be understood."""
        outcome = outcome_of(self.profile, handed_over=reply.handed_over, status=reply.status, clear=clear)
        reason = reply.failure or f"the SMP answered {reply.status}"
        permit.settle(outcome, reason=reason, retry_after_s=reply.retry_after)
        self.gate.agreement.observe(reply, self.profile.timings.clock_tolerance_us)

    def _errand(self, lane: Lane, endpoint: str, urgency: Urgency) -> Errand:
        return Errand(participant=self.identity.participant, lane=str(lane), urgency=urgency, endpoint=endpoint)

    def attempt(self, number: int) -> Attempt:
        """A new attempt's header values: fresh jti and iat."""
        now = self._clock.now()
        return Attempt(number=number, jti=self._entropy.uuid(), iat=now // 1_000_000, key_id=self.signer.key_id)

    def sign(self, method: str, path: str, attempt: Attempt, body: bytes, *, message_id: str) -> SignedCall:
        """Sign a request to this path of the SMP, in the form of the wire profile."""
        url = self.identity.base_url.rstrip("/") + path
        signer = self._signers[attempt.key_id]
        header = jws.protected_header(
            algorithm=signer.algorithm,
            key_id=signer.key_id,
            typ=self.profile.signature.typ_request,
            iat=attempt.iat,
            jti=attempt.jti,
            aud=url,
        )
        token = jws.sign_detached(signer, header, body)
        sent = envelope.enclose(self.profile.signature.form, token, body)
        return SignedCall(
            method=method,
            url=url,
            body=sent.body,
            signature=sent.signature,
            jti=attempt.jti,
            token=token,
            message_id=message_id,
        )

    def believe(self, call: SignedCall, reply: Reply) -> Reply:
        """Take an answer out of its signature, where the profile has answers signed; what is not so is unreadable."""
        form = self.profile.signature
        if form.responses == "tls" or reply.status is None:
            return reply
        try:
            segments = envelope.disclose(form.form, reply.body, reply.signature)
            jws.verify(
                segments,
                self.callback_keys.find,
                typ=form.typ_response,
                audience=call.url,
                algorithms=form.algorithms,
                request=call.jti,
            )
            content = segments.content()
        except SignatureRefused as refused:
            reason = f"the answer {reply.status} is not signed as it should be, {refused.reason}"
            self._trouble("answers").begins(f"answers are not believed, {refused.reason}", self._clock.now())
            return replace(reply, status=None, failure=reason)
        self._trouble("answers").ends()
        return replace(reply, body=content, signature=segments.token)

    def unauthorized(self, ticket: Ticket, submission_id: str | None = None) -> None:
        """The SMP answered 401 to this token: log in again, once for everybody who met the same.

        The same submission refused on a fresh token as well holds the participant. A status call (no ``submission_id``)
        that a fresh token does not satisfy either is told, costs ever fewer logins, and keeps nobody from sending.
        """
        current = self._ticket is not None and self._ticket.login == ticket.login
        if submission_id is None:
            if current:
                self._refuse_enquiry()
        elif self._refused.setdefault(submission_id, ticket.login) != ticket.login:
            del self._refused[submission_id]
            self.hold("a fresh token was answered 401")
        elif current:
            self._drop_token()

    def _refuse_enquiry(self) -> None:
        """Log in again, at once the first time; the token may have died once more, or no token will ever do."""
        if self._enquiries_refused and self._trouble("enquiries").begins(
            "status calls are refused, a fresh token too", self._clock.now()
        ):
            self._event("enquiries_refused", participant=self.identity.participant)
        now = asyncio.get_running_loop().time()
        if now >= self._enquiry_login_at:
            pause = _FIRST_LOGIN_PAUSE_S * 2 ** min(self._enquiries_refused, 10)
            self._enquiry_login_at = now + min(pause, _LONGEST_LOGIN_PAUSE_S)
            self._enquiries_refused += 1
            self._drop_token()

    def enquired(self) -> None:
        """The SMP let a status call's token pass."""
        self._enquiries_refused, self._enquiry_login_at = 0, 0.0
        if self._trouble("enquiries").ends():
            self._event("enquiries_answered", participant=self.identity.participant)

    @property
    def public_keys(self) -> Sequence[Mapping[str, str]]:
        """The public half of every key that something was or is signed with, as JWKs."""
        return [signer.public_jwk for signer in self._signers.values()]

    def rekey(self, identity: Identity, signer: Signer) -> None:
        """Log in and sign as the configuration says now; what is SENDING keeps the key that its commit named."""
        login = (identity.username, identity.password) != (self.identity.username, self.identity.password)
        self.identity = identity
        self.signer = self._signers[signer.key_id] = signer
        if login:
            self._drop_token()
            self.release()

    def rest(self) -> None:
        """Forget what only counts while this gateway serves the participant; nothing runs for it any more."""
        self.held, self._refusals = None, 0
        self._troubles.clear()
        self._refused.clear()
        self._held_kinds.clear()
        self._drop_token()

    def hold(self, reason: str) -> None:
        """Stop sending for this participant until a login succeeds after a pause; lanes refused together count once."""
        if self.held is None:
            self._event("participant_held", participant=self.identity.participant, reason=reason)
            self._refusals += 1
            self._released.clear()
        self._trouble("held").begins(f"held, {reason}", self._clock.now())
        self.held = reason
        self._drop_token()

    def release(self) -> None:
        """Log in again at once although held: an operator says that its cause is mended, and refusals count anew."""
        self._refusals = 0
        self._released.set()

    def hold_endpoint(self, kind: Kind, reason: str) -> None:
        """Stop sending one kind for a while: the SMP says that its path or form is wrong, which is configuration."""
        if not self._endpoint_pause(kind):
            self._event("endpoint_held", participant=self.identity.participant, kind=kind, reason=reason)
        self._trouble(f"kind {kind}").begins(f"{kind} is held, {reason}", self._clock.now())
        self._held_kinds[kind] = asyncio.get_running_loop().time() + _ENDPOINT_PAUSE_S

    def answered(self, submission_id: str) -> None:
        """The SMP let a submission's token pass."""
        self._refused.pop(submission_id, None)

    def accepted(self, kind: Kind) -> None:
        """The SMP took a submission of this kind: whatever held the participant or the kind is over."""
        self._refusals = 0
        if self._trouble(f"kind {kind}").ends():
            self._event("endpoint_released", participant=self.identity.participant, kind=kind)

    def misdirected(self, reason: str) -> None:
        """A callback with a good signature was meant for another address or use than ours."""
        self._trouble("callbacks").begins(f"callbacks are refused, {reason}", self._clock.now())

    def called_back(self) -> None:
        """A callback was good."""
        self._trouble("callbacks").ends()

    async def run(self) -> None:
        """Keep a token at hand until cancelled."""
        failures = 0
        while True:
            if self.held is not None:
                await self._pause_while_held()
            permit = await self.gate.enter(login_errand(self.identity.participant))
            was_held = self.held is not None
            try:
                reply = await self.transport.login(self.identity.username, self.identity.password)
                result = answer.read_token(self.profile, reply.status, reply.body, self._clock.now())
                self.paced(permit, reply, clear=isinstance(result, answer.Token) or result.held)
            finally:
                permit.unused()
            if not reply.handed_over:
                continue
            if isinstance(result, answer.Token):
                failures = 0
                if was_held or self.held is None:  # else held while the login was under way: the pause comes first
                    await self._use(result)
                continue
            reason = result.note or reply.failure
            if self._trouble("login").begins(f"no token, {reason}", self._clock.now()):
                self._event("login_failed", participant=self.identity.participant, reason=reason)
            if result.held:
                self._refusals += was_held
                self.hold(result.note)
                continue
            failures += 1
            pause = min(_FIRST_LOGIN_PAUSE_S * 2 ** min(failures - 1, 10), _LONGEST_LOGIN_PAUSE_S)
            await asyncio.sleep(pause * self._entropy.jitter(0.2))

    async def _use(self, token: answer.Token) -> None:
        """Hand out a token until it is time for the next one."""
        self._event("login_succeeded", participant=self.identity.participant)
        self._trouble("login").ends()
        self._trouble("held").ends()
        if self.held is not None:
            self.held = None
            self._event("participant_released", participant=self.identity.participant)
        self._logins += 1
        self._ticket = Ticket(value=token.value, login=self._logins)
        self._renew.clear()  # what was dropped before this login is made good by it
        self._fresh.set()
        life_s = max((token.expires_at - self._clock.now()) / 1_000_000, 1.0)
        renewal_s = life_s * self.profile.timings.token_renewal
        if not self.gate.agreement.holds:
            renewal_s = min(renewal_s, PROBE_S * self._entropy.jitter(0.2))
        try:
            async with asyncio.timeout(renewal_s):
                await self._renew.wait()
        except TimeoutError:
            return

    async def _pause_while_held(self) -> None:
        """Wait until the next login may be tried; after the last of the tries, until an operator has released us."""
        pause = None
        if self._refusals < LOGIN_TRIES:
            pause = _HOLD_PAUSES_S[max(self._refusals, 1) - 1] * self._entropy.jitter(0.2)
        try:
            async with asyncio.timeout(pause):
                await self._released.wait()
        except TimeoutError:
            return
        self._released.clear()

    def _trouble(self, what: str) -> Trouble:
        return self._troubles.setdefault(what, Trouble())

    def _drop_token(self) -> None:
        self._ticket = None
        self._fresh.clear()
        self._renew.set()

    def _at_hand(self, endpoint: str) -> bool:
        """Whether the SMP would take a request to this endpoint from us, as far as we know."""
        return self.ticket is not None and self.gate.agreement.holds and not self._endpoint_pause(endpoint)

    def _endpoint_pause(self, endpoint: str) -> float:
        """Seconds until a held endpoint is tried again, or 0."""
        return max(self._held_kinds.get(endpoint, 0.0) - asyncio.get_running_loop().time(), 0.0)
