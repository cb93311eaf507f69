"""Every seam of the gateway, as Protocols: what `flow` needs, and what `edge` and the adapters provide.

Times are µs UTC unless a name says otherwise. A docstring says what is raised and whether cancelling is safe; what is
not named is not raised. Errors are those of :mod:`gateway.errors`.
"""

from gateway.ports.clock import Clock, Entropy
from gateway.ports.journal import Journal, Leases
from gateway.ports.operators import Call, Control, OperationHandler, OperationHandlers
from gateway.ports.site import (
    Adapter,
    AdapterSpec,
    Busy,
    Committed,
    ConnectionConfig,
    MailboxStatus,
    News,
    PointCall,
    PointWrite,
    Reachable,
    Receipt,
    Refused,
    Request,
    Resources,
    ResultWrite,
    RoleWrite,
    Session,
    Submitted,
    Write,
)
from gateway.ports.smp import (
    CallbackHandler,
    CallbackReply,
    KeyRing,
    KeyShelf,
    KeySource,
    Published,
    Reply,
    SignedCall,
    Signer,
    Transport,
)

__all__ = [
    "Adapter",
    "AdapterSpec",
    "Busy",
    "Call",
    "CallbackHandler",
    "CallbackReply",
    "Clock",
    "Committed",
    "ConnectionConfig",
    "Control",
    "Entropy",
    "Journal",
    "KeyRing",
    "KeyShelf",
    "KeySource",
    "Leases",
    "MailboxStatus",
    "News",
    "OperationHandler",
    "OperationHandlers",
    "PointCall",
    "PointWrite",
    "Published",
    "Reachable",
    "Receipt",
    "Refused",
    "Reply",
    "Request",
    "Resources",
    "ResultWrite",
    "RoleWrite",
    "Session",
    "SignedCall",
    "Signer",
    "Submitted",
    "Transport",
    "Write",
]
