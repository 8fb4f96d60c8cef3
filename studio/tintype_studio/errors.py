"""Every error that can reach a caller, drawn as one tree.

    TintypeError
    ├── InvalidInput            422   the call's content is wrong; the caller can mend it
    │   ├── InvalidImage        422   bytes that are not a picture we can read whole
    │   ├── UnsupportedFormat   415   a file type or export format we do not handle
    │   └── TooLarge            413   over a stated size limit
    ├── Unauthorized            401   no key, or one that is unknown, revoked or expired
    ├── PaymentRequired         402   the balance or the key's cap does not cover the price
    ├── Forbidden               403   the key's role or toolset does not allow it
    │   ├── PathNotAllowed      403   a local path outside the allowed roots
    │   └── ApprovalDenied      403   a person said no
    ├── NotFound                404   missing, or of another organization (never told apart)
    ├── MethodNotAllowed        405   an address that does not take this method
    ├── Conflict                409   a name is taken, a state forbids it
    │   ├── IdempotencyConflict 409   the key was used with other arguments
    │   └── UndoConflict        409   later changes build on what is to be undone
    ├── ConfirmationRequired    428   destroys or spends much; goes on once it is confirmed
    ├── Cancelled               499   the caller went away or cancelled
    ├── RateLimited             429   too many calls; retry later
    ├── DeadlineExceeded        504   the call took longer than it may; nothing was changed or charged
    ├── Unavailable             503   something this needs is not there now (weights, disk, database)
    └── Internal                500   a defect; the cause is logged, never shown

Each has a stable ``code``, an HTTP ``status``, a ``fix`` (one sentence that tells an agent what to do
next) and ``retryable`` (whether the same call can succeed later). ``details`` carries numbers and names
that a program may read; nothing in it may be a secret or a path of the server.
"""

from __future__ import annotations

from typing import Any, ClassVar


class TintypeError(Exception):
    """Base of every error shown to callers."""

    status: ClassVar[int] = 500
    default_code: ClassVar[str] = "internal"
    default_fix: ClassVar[str] = "Try again; if it persists, ask the operator of this server."
    default_retryable: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        fix: str | None = None,
        retryable: bool | None = None,
        details: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.default_code
        self.fix = fix or self.default_fix
        self.retryable = self.default_retryable if retryable is None else retryable
        self.details = details or {}
        self.call_id: str | None = None
        """The call that it ended, once that is known: what the audit trail has it under."""

    def as_dict(self) -> dict[str, Any]:
        """The one visible shape: ``{code, message, fix, retryable, details?}``."""
        shape: dict[str, Any] = {
            "code": self.code,
            "message": self.message,
            "fix": self.fix,
            "retryable": self.retryable,
        }
        if self.details:
            shape["details"] = self.details
        return shape


class InvalidInput(TintypeError):
    """The call's content is wrong."""

    status = 422
    default_code = "invalid_input"
    default_fix = "Correct the arguments named in the message and call again."


class InvalidImage(InvalidInput):
    """Bytes that are not a picture we can read whole."""

    default_code = "invalid_image"
    default_fix = "Check that the file opens in an image viewer, then upload it again."


class UnsupportedFormat(InvalidInput):
    """A file type or export format we do not handle."""

    status = 415
    default_code = "unsupported_format"
    default_fix = "Convert the file to JPEG or PNG and upload it again."


class TooLarge(InvalidInput):
    """Over a stated size limit."""

    status = 413
    default_code = "too_large"
    default_fix = "Make it smaller than the limit named in the message."


class Unauthorized(TintypeError):
    """No key, or one that is unknown, revoked or expired."""

    status = 401
    default_code = "unauthorized"
    default_fix = "Send a valid key in X-API-Key; an admin makes one with `tintype keys create`."


class PaymentRequired(TintypeError):
    """The balance or the key's cap does not cover the price.

    ``required`` and ``remaining`` are whole credits.
    """

    status = 402
    default_code = "insufficient_credits"
    default_fix = "Ask an owner to grant credits or raise the key's cap, or choose a cheaper call."

    def __init__(self, message: str, *, required: int, remaining: int, **kwargs: Any) -> None:
        details = {"required": required, "remaining": remaining, **kwargs.pop("details", {})}
        super().__init__(message, details=details, **kwargs)


class Forbidden(TintypeError):
    """The key's role or toolset does not allow it."""

    status = 403
    default_code = "forbidden"
    default_fix = "Use a key with the role named in the message."


class PathNotAllowed(Forbidden):
    """A local path outside the allowed roots."""

    default_code = "path_not_allowed"
    default_fix = "Use a path under an allowed root, or ask the operator to add it to TINTYPE_ROOTS."


class ApprovalDenied(Forbidden):
    """A person, or the client on a person's behalf, refused a call that needed confirmation."""

    default_code = "approval_denied"
    default_fix = "Do not repeat this call; tell the user that it was refused."


class NotFound(TintypeError):
    """Missing, or of another organization."""

    status = 404
    default_code = "not_found"
    default_fix = "Check the name (it is case-sensitive) with the matching list tool."


class MethodNotAllowed(TintypeError):
    """An address that does not take this method."""

    status = 405
    default_code = "method_not_allowed"
    default_fix = "Use the documented method."


class Conflict(TintypeError):
    """A name is taken, or a state forbids the change."""

    status = 409
    default_code = "conflict"
    default_fix = "Choose another name, or use the existing object."


class IdempotencyConflict(Conflict):
    """The idempotency key was used with other arguments."""

    default_code = "idempotency_conflict"
    default_fix = "Use a new idempotency key for a call with different arguments."


class UndoConflict(Conflict):
    """Later changes build on what is to be undone; ``details.calls`` names them, newest first."""

    default_code = "later_changes"
    default_fix = "Undo the calls named in details.calls first, newest first."


class ConfirmationRequired(TintypeError):
    """A call that destroys, or spends much, waits for a word. ``details`` says what it would do."""

    status = 428
    default_code = "confirmation_required"
    default_fix = "Tell the user what would happen; once they agree, call confirm_call."
    default_retryable = True

    def __init__(self, message: str, *, token: str, by_human: bool = False, **kwargs: Any) -> None:
        super().__init__(message, **kwargs)
        self.token = token
        """For a door that asks a person itself; what the caller may see of it stands in ``details``."""
        self.by_human = by_human
        """Whether the caller's own word is not enough."""


class Cancelled(TintypeError):
    """The caller went away or cancelled."""

    status = 499
    default_code = "cancelled"
    default_fix = "Call again if the work is still wanted; finished parts were kept."
    default_retryable = True


class DeadlineExceeded(TintypeError):
    """The call took longer than it may."""

    status = 504
    default_code = "deadline_exceeded"
    default_fix = "Ask for less at a time, or allow the call more time."
    default_retryable = True


class RateLimited(TintypeError):
    """Too many calls. ``details.retry_after`` is in whole seconds."""

    status = 429
    default_code = "rate_limited"
    default_fix = "Wait for the time named in the message, then call again."
    default_retryable = True


class Unavailable(TintypeError):
    """Something this needs is not there now."""

    status = 503
    default_code = "unavailable"
    default_retryable = True


class Internal(TintypeError):
    """A defect. The message is fixed so that no internal text leaks."""

    def __init__(self, call_id: str | None = None) -> None:
        super().__init__(
            "The server failed to complete this call.",
            details={"call_id": call_id} if call_id else None,
        )
