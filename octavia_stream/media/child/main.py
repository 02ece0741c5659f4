"""Entry point of the child: hear one request, confine yourself, answer, end."""

import errno
import os
import sys

from octavia_stream.errors import DependencyUnavailable, MediaRejected, MediaTooLarge, StorageFull
from octavia_stream.media import wire
from octavia_stream.media.child import (
    burning,
    confinement,
    cutting,
    decoding,
    muxing,
    picturing,
    pipes,
    probing,
    recording,
    segmenting,
)
from octavia_stream.media.child.lettering import Letterer
from octavia_stream.media.child.opening import MEDIA_ERRORS, UNREADABLE

_STDIN, _STDOUT, _STDERR = 0, 1, 2


def main() -> None:
    """Everything is imported before the doors close, for a file of Python can not be read afterwards."""
    reports = pipes.Reports(os.dup(_STDOUT))
    # A library that prints must not break the talk.
    os.dup2(_STDERR, _STDOUT)
    request = pipes.read_request(_STDIN)
    probing.warm_up()
    letterer = Letterer() if isinstance(request.task, wire.BurnRequest) else None
    try:
        layers = confinement.confine(request)
        reports.result(_answer(request, layers, reports, letterer))
    except BrokenPipeError:
        # The parent has lost interest.
        pass
    except (StorageFull, MediaTooLarge, DependencyUnavailable) as error:
        reports.failure(error.code, str(error))  # type: ignore[arg-type]
    except MediaRejected as error:
        reports.failure("media_rejected", str(error))
    except MemoryError:
        reports.failure("media_rejected", "The file needs more memory than this server gives to one file.")
    except OSError as error:
        _report_os_error(error, reports)
    except MEDIA_ERRORS as error:
        print(repr(error), file=sys.stderr)  # noqa: T201  the parent logs it
        reports.failure("media_rejected", UNREADABLE)
    os._exit(0)


def _answer(  # noqa: PLR0911  (one for each task)
    request: wire.Request, layers: tuple[str, ...], reports: pipes.Reports, letterer: Letterer | None
) -> object:
    source = os.fsdecode(request.source) if request.source else ""
    directory = os.fsdecode(request.output_directory or b"")
    match request.task:
        case wire.ConfineRequest():
            return wire.Confinement(layers)
        case wire.ProbeRequest():
            return probing.probe(source, request.limits)
        case wire.DecodeRequest() as task:
            return decoding.decode(source, task, request.limits, reports.samples)
        case wire.MuxRequest() as task:
            earlier = os.fsdecode(request.earlier or b"")
            return muxing.mux(
                source, directory, task, lambda count: pipes.read_samples(_STDIN, count, task.channels), earlier
            )
        case wire.CutRequest() as part:
            return cutting.cut(source, directory, part)
        case wire.BurnRequest() as drawing:
            assert letterer is not None  # noqa: S101  made for this request
            return burning.burn(
                source, os.fsdecode(request.output_directory or b""), drawing, letterer, reports.reached
            )
        case wire.PictureRequest() as still:
            return picturing.picture(source, still, request.limits, reports.content)
        case wire.EncodeRequest() as wanted:
            return recording.record(wanted, lambda count: pipes.read_samples(_STDIN, count, 1), reports.content)
        case wire.StreamRequest() as task:
            both = 2 * task.channels
            return segmenting.segment(
                source, task, lambda count: pipes.read_samples(_STDIN, count, both), reports.piece
            )


def _report_os_error(error: OSError, reports: pipes.Reports) -> None:
    print(repr(error), file=sys.stderr)  # noqa: T201  the parent logs it
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            reports.failure("storage_full", "There is no space left to write the result.")
        case errno.EFBIG:
            reports.failure("media_too_large", "The result would be larger than this server writes.")
        case errno.ENOMEM:
            reports.failure("media_rejected", "The file needs more memory than this server gives to one file.")
        case errno.EACCES | errno.EPERM:
            reports.failure("media_rejected", "The file cannot be read: access is denied.")
        case _:
            reports.failure("media_rejected", UNREADABLE)


if __name__ == "__main__":
    main()
