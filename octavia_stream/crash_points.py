"""Every place where a process may die between two commits, by name; tests of survival make it die there.

A place costs one comparison, and does nothing unless the settings name it (`OCTAVIA_CRASH_POINT`).
"""

import os
import signal
from enum import StrEnum


class CrashPoint(StrEnum):
    """Between which two things the process dies. Each stands at exactly one place in the code."""

    UPLOAD_STORED = "upload-stored"
    """The bytes of an upload lie in the store, and no row names them."""
    UPLOAD_RECORDED = "upload-recorded"
    """The upload exists, and its client has not been told."""
    PIECE_STORED = "piece-stored"
    """A piece of a resumable upload lies in the store, and the offset has not risen."""
    PIECES_ASSEMBLED = "pieces-assembled"
    """The whole file lies in the store beside its pieces, and is no upload yet."""
    PIECES_RECORDED = "pieces-recorded"
    """The upload exists, and its pieces are still there."""
    UPLOAD_FORGOTTEN = "upload-forgotten"
    """The row of an upload is gone, its bytes are not."""
    KEY_TAKEN = "key-taken"
    """An idempotency key is taken, and nothing was done under it."""
    KEY_UNANSWERED = "key-unanswered"
    """What was asked under an idempotency key is done, and the answer is not kept."""
    CREDITS_RESERVED = "credits-reserved"
    """Credits are held for a job within the transaction that will queue it."""
    JOB_QUEUED = "job-queued"
    """A job waits for a worker, and nobody has been told."""
    JOB_RETRIED = "job-retried"
    """A job waits for a worker once more, and nobody has been told."""
    JOB_CANCELLED = "job-cancelled"
    """A waiting job was cancelled, and nobody has been told."""
    JOB_FORGOTTEN = "job-forgotten"
    """The row of a job is gone, what it made is not."""
    JOB_CLAIMED = "job-claimed"
    """A worker holds a job, and does not know it yet."""
    ATTEMPT_RECORDED = "attempt-recorded"
    """A piece of work is begun, and no engine was asked."""
    CHECKPOINT_STORED = "checkpoint-stored"
    """A finished piece of work lies in the store, and no row names it."""
    CHECKPOINT_RECORDED = "checkpoint-recorded"
    """A piece of work is done, and the work that waits for it has not gone on."""
    EVENTS_RECORDED = "events-recorded"
    """Events of a running job are stored, and nobody has been told."""
    RESULT_STORED = "result-stored"
    """A result lies in the store, and the job does not name it."""
    LEFTOVERS_REMOVED = "leftovers-removed"
    """All that a job needs no more is gone, and it has not ended."""
    CREDITS_CAPTURED = "credits-captured"
    """Credits are charged or given back within the transaction that will end the job."""
    JOB_ENDED = "job-ended"
    """A job has ended, and nobody has been told."""
    JOB_GIVEN_BACK = "job-given-back"
    """A job was given back to the queue, and nobody has been told."""
    EXPIRED_JOB_FORGOTTEN = "expired-job-forgotten"
    """The row of a job past its time is gone, what it made is not."""
    EXPIRED_UPLOAD_FORGOTTEN = "expired-upload-forgotten"
    """The row of an upload past its time is gone, its bytes are not."""
    MESSAGE_KEPT = "message-kept"
    """A message about a payment is kept, and Polar has not been told so."""
    ORDER_CREDITED = "order-credited"
    """Credits of an order are given, and its message counts as unsettled."""
    ORDER_SETTLED = "order-settled"
    """A message about a payment is settled, and the next is not looked at."""
    OWNER_FORGOTTEN = "owner-forgotten"
    """The rows of an account are gone, its files are not."""
    OBJECT_REMOVED = "object-removed"
    """A file of an account that is gone was removed, and still counts as to be removed."""


class _Armed:
    point: CrashPoint | None = None


def arm(point: CrashPoint | None) -> None:
    """Die at this place when it is reached; None: nowhere."""
    _Armed.point = point


def crash_point(here: CrashPoint) -> None:
    """A place with a name. Where the settings name it, the process ends at once, as by `kill -9`."""
    if _Armed.point is here:
        os.kill(os.getpid(), signal.SIGKILL)
