"""Named events: one call is one structured log line and one metric.

Rules
-----
* Every event is a row of :data:`EVENTS`; emitting a name that is not there is a programming error and raises KeyError.
* Names are ``noun_verb`` or ``noun_verb_failed``. Labels are bounded words (site, state, code); whatever is unbounded
  (ids, addresses, sentences) goes into the log line only.
* A failure is logged when it begins and when it ends, not at each repetition: that is the caller's duty.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TextIO

import orjson
import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from gateway.core.message import Hop
from gateway.core.printable import printable
from gateway.core.transaction import State

PREFIX = "smp_gateway"
# Log-spaced from 100 µs (one commit) to 5 min (the verdict deadline).
HOP_BUCKETS = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300)


@dataclass(frozen=True, slots=True)
class EventSpec:
    """How one event shows: its log level, and the labels that its counter keeps.

    What strangers can set off is logged once in ``once_per_s`` seconds at most, with the number of lines left out since
    then; all of it is counted.
    """

    level: str
    labels: tuple[str, ...] = ()
    once_per_s: float = 0.0


EVENTS: Mapping[str, EventSpec] = {
    # process
    "gateway_started": EventSpec("info"),
    "gateway_stopped": EventSpec("info"),
    "clock_behind": EventSpec("error"),
    "configuration_reloaded": EventSpec("info"),
    "configuration_refused": EventSpec("error"),
    # sites
    "site_connected": EventSpec("info", ("site", "connection")),
    "site_lost": EventSpec("warning", ("site", "connection")),
    "site_faulted": EventSpec("error", ("site",)),
    "site_recovered": EventSpec("info", ("site",)),
    "site_retired": EventSpec("info", ("site",)),
    "point_read_failed": EventSpec("warning", ("site", "connection")),
    "point_read_recovered": EventSpec("info", ("site", "connection")),
    "point_values_lost": EventSpec("warning", ("site", "connection")),
    "site_events_failed": EventSpec("error", ("site", "connection", "message")),
    "site_events_recovered": EventSpec("info", ("site", "connection", "message")),
    "site_events_lost": EventSpec("error", ("site", "connection")),
    "heartbeat_failed": EventSpec("warning", ("site", "connection")),
    "heartbeat_recovered": EventSpec("info", ("site", "connection")),
    "master_refused": EventSpec("warning", ("site", "connection"), once_per_s=10.0),
    "broker_session_lost": EventSpec("warning", ("site", "connection")),
    "topic_unknown": EventSpec("warning", ("site", "connection")),
    "point_written": EventSpec("info", ("site", "connection")),
    "method_called": EventSpec("info", ("site", "connection")),
    "write_rehearsed": EventSpec("info", ("site", "connection")),
    "writes_held": EventSpec("warning", ("site",)),
    "writes_released": EventSpec("info", ("site",)),
    "mailbox_alarmed": EventSpec("warning", ("site", "mailbox", "code")),
    # messages
    "message_accepted": EventSpec("info", ("site", "message")),
    "message_refused": EventSpec("warning", ("site", "message", "code")),
    "message_repeated": EventSpec("info", ("site", "message")),
    "message_conflicted": EventSpec("error", ("site", "message")),
    "message_moved": EventSpec("info", ("site", "message", "state")),
    "intake_paused": EventSpec("error", ("site",)),
    "operator_acted": EventSpec("warning", ("act",)),
    # the SMP
    "submission_answered": EventSpec("info", ("environment", "status")),
    "submission_failed": EventSpec("warning", ("environment", "code")),
    "message_parked": EventSpec("error", ("site", "message")),
    "messages_stuck": EventSpec("error", ("participant", "why")),
    "messages_freed": EventSpec("info", ("participant", "why")),
    "submission_resent": EventSpec("warning", ("environment",)),
    "status_polled": EventSpec("info", ("environment", "outcome")),
    "login_succeeded": EventSpec("info", ("participant",)),
    "login_failed": EventSpec("warning", ("participant",)),
    "participant_held": EventSpec("error", ("participant",)),
    "participant_released": EventSpec("info", ("participant",)),
    "enquiries_refused": EventSpec("error", ("participant",)),
    "enquiries_answered": EventSpec("info", ("participant",)),
    "endpoint_held": EventSpec("error", ("participant", "kind")),
    "endpoint_released": EventSpec("info", ("participant", "kind")),
    "smp_unavailable": EventSpec("error", ("environment",)),
    "smp_available": EventSpec("info", ("environment",)),
    "smp_throttled": EventSpec("warning", ("environment",)),
    "smp_unthrottled": EventSpec("info", ("environment",)),
    "clock_skewed": EventSpec("error", ("environment",)),
    "clock_agreed": EventSpec("info", ("environment",)),
    # callbacks
    "callback_received": EventSpec("info", ("participant", "disposition")),
    "callback_refused": EventSpec("warning", ("code",), once_per_s=1.0),
    "callback_conflicted": EventSpec("error", ("participant",)),
    "callback_quarantined": EventSpec("error", ("participant",)),
    "callbacks_unmatched": EventSpec("error", ("participant",)),
    "callbacks_matched": EventSpec("info", ("participant",)),
    "keys_changed": EventSpec("info", ("issuer",)),
    "keys_fetch_failed": EventSpec("warning", ("issuer",)),
    "keys_fetch_recovered": EventSpec("info", ("issuer",)),
    # files that may be exchanged under a running gateway
    "renewal_succeeded": EventSpec("info", ("what",)),
    "renewal_failed": EventSpec("error", ("what",)),
    # relays
    "relay_delivered": EventSpec("info", ("site", "state")),
    "relay_refused": EventSpec("error", ("site",)),
    # the journal
    "journal_opened": EventSpec("info"),
    "journal_full": EventSpec("error"),
    "journal_has_room": EventSpec("info"),
    "journal_broken": EventSpec("critical"),
    "journal_standing_by": EventSpec("info"),
    "journal_away": EventSpec("error"),
    "journal_back": EventSpec("info"),
    # several gateways on one journal
    "participant_taken_up": EventSpec("info", ("participant",)),
    "participant_handed_over": EventSpec("info", ("participant",)),
    "node_buried": EventSpec("warning"),
    "plants_let_go": EventSpec("error"),
    "plants_taken_back": EventSpec("info"),
    "evidence_sealed": EventSpec("info", ("participant",)),
    "evidence_unsealed": EventSpec("error", ("participant",)),
    "evidence_removed": EventSpec("info", ("participant",)),
    "request_malformed": EventSpec("warning", ("listener",), once_per_s=1.0),
    "handler_faulted": EventSpec("error", ("listener",)),
}


class Telemetry:
    """Counts and logs; one per process, passed to everything that has something to tell."""

    def __init__(self, *, console: bool = False, stream: TextIO | None = None, level: str = "info") -> None:
        self.registry = CollectorRegistry()
        self._paced: dict[str, tuple[float, int]] = {}  # event -> when it was logged last, and how many were not since
        self._log = _logger(stream or sys.stderr, console=console, level=level)
        self._counters = {
            name: Counter(
                f"{PREFIX}_{name}_total", f"Times that {name.replace('_', ' ')}", spec.labels, registry=self.registry
            )
            for name, spec in EVENTS.items()
        }
        self._hops = Histogram(
            f"{PREFIX}_hop_seconds",
            "Seconds from the start of a message's way (uplink: seen, downlink: called_back) to each hop",
            ("hop",),
            buckets=HOP_BUCKETS,
            registry=self.registry,
        )
        self._messages = Gauge(f"{PREFIX}_messages", "Messages in each state", ("state",), registry=self.registry)
        self._available = Gauge(
            f"{PREFIX}_smp_up",
            "1 while the SMP can be used, 0 in an outage",
            ("environment",),
            registry=self.registry,
        )
        self._configuration = Gauge(
            f"{PREFIX}_configuration_current", "1 while what runs is what the files say", registry=self.registry
        )
        self._configuration.set(1)
        self._relays = Gauge(
            f"{PREFIX}_relays_pending", "Relays not yet read back at their site", registry=self.registry
        )
        self._certificates = Gauge(
            f"{PREFIX}_certificate_expires_seconds",
            "When the certificate of this member of the YAML ends, in seconds since 1970",
            ("what",),
            registry=self.registry,
        )

    def emit(self, name: str, **fields: object) -> None:
        """Tell of one event: ``fields`` must hold the labels of its row, and may hold anything else for the log."""
        spec = EVENTS[name]
        counter = self._counters[name]
        (counter.labels(*(str(fields[label]) for label in spec.labels)) if spec.labels else counter).inc()
        if spec.once_per_s:
            left_out = self._left_out(name, spec.once_per_s)
            if left_out is None:
                return
            fields["left_out"] = left_out
        getattr(self._log, spec.level)(name, **fields)

    def _left_out(self, name: str, pause_s: float) -> int | None:
        """How many lines of this event were left out since its last one, or None to leave this one out as well."""
        last, count = self._paced.get(name, (-pause_s, 0))
        now = time.monotonic()
        if now - last < pause_s:
            self._paced[name] = (last, count + 1)
            return None
        self._paced[name] = (now, 0)
        return count

    def hop(self, hop: Hop, seconds: float) -> None:
        """Record how long after the start of its way a message reached a hop."""
        self._hops.labels(hop.value).observe(max(seconds, 0.0))

    def depth(self, messages: Mapping[State, int], relays: int) -> None:
        """Set the gauges of what the journal holds."""
        for state, count in messages.items():
            self._messages.labels(state).set(count)
        self._relays.set(relays)

    def available(self, environment: str, *, available: bool) -> None:
        """Set the gauge of one environment of the SMP."""
        self._available.labels(environment).set(int(available))

    def configuration(self, *, current: bool) -> None:
        """Set the gauge that says whether what runs is what the files say."""
        self._configuration.set(int(current))

    def certificates(self, ends: Mapping[str, int]) -> None:
        """Set when certificates end (µs UTC), by their member in the YAML."""
        for what, end in ends.items():
            self._certificates.labels(what).set(end / 1_000_000)

    def exposition(self) -> bytes:
        """All metrics in the Prometheus text format."""
        return generate_latest(self.registry)


def _logger(stream: TextIO, *, console: bool, level: str) -> structlog.typing.FilteringBoundLogger:
    """Write JSON lines, or coloured lines for people, without any global configuration."""
    render: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(colors=stream.isatty())
        if console
        else structlog.processors.JSONRenderer(serializer=_json)
    )
    logger: structlog.typing.FilteringBoundLogger = structlog.wrap_logger(
        structlog.PrintLogger(stream),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *([_printable] if console else []),
            render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.upper())),
    ).bind()  # bound once: the lazy logger would assemble itself at each line
    return logger


def _printable(_logger: object, _method: str, fields: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Let no text from outside speak to the terminal; JSON escapes by itself."""
    return {key: printable(value) if isinstance(value, str) else value for key, value in fields.items()}


def _json(fields: Mapping[str, object], **_: object) -> str:
    """One line; what JSON has no form for is written as its text."""
    try:
        return orjson.dumps(fields, default=str).decode()
    except TypeError:  # half a character from outside, which no UTF-8 can hold
        return orjson.dumps({key: printable(str(value)) for key, value in fields.items()}).decode()
