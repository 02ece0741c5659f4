"""Entry point of the child: hear one request, confine yourself, answer, end."""

import errno
import os
import sys
from collections.abc import Callable

from octavia_stream.errors import DependencyUnavailable, MediaRejected, MediaTooLarge, StorageFull
from octavia_stream.media import wire
from octavia_stream.media.child import confinement, pipes, probing
from octavia_stream.media.child.opening import MEDIA_ERRORS, UNREADABLE

_STDIN, _STDOUT, _STDERR = 0, 1, 2


def main() -> None:
    """Everything is imported before the doors close, for a file of Python can not be read afterwards."""
    reports = pipes.Reports(os.dup(_STDOUT))
    # A library that prints must not break the talk.
    os.dup2(_STDERR, _STDOUT)
    request = pipes.read_request(_STDIN)
    probing.warm_up()
    answer = _prepared(request, reports)
    try:
        layers = confinement.confine(request)
        reports.result(answer() if answer else wire.Confinement(layers))
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


def _prepared(  # noqa: PLR0911  (one for each task)
    request: wire.Request, reports: pipes.Reports
) -> Callable[[], object] | None:
    """What answers the request once the doors are closed; None: it only asks for that.

    Imports no more than the task needs: a job starts several children, and its first words wait for one of them.
    """
    source = os.fsdecode(request.source or b"")
    directory = os.fsdecode(request.output_directory or b"")
    match request.task:
        case wire.ConfineRequest():
            return None
        case wire.ProbeRequest():
            return lambda: probing.probe(source, request.limits)
        case wire.DecodeRequest() as track:
            from octavia_stream.media.child import decoding

            return lambda: decoding.decode(source, track, request.limits, reports.samples)
        case wire.MuxRequest() as file:
            from octavia_stream.media.child import muxing

            earlier = os.fsdecode(request.earlier or b"")
            return lambda: muxing.mux(source, directory, file, _samples(file.channels), earlier)
        case wire.CutRequest() as part:
            from octavia_stream.media.child import cutting

            return lambda: cutting.cut(source, directory, part)
        case wire.BurnRequest() as drawing:
            from octavia_stream.media.child import burning, lettering

            letterer = lettering.Letterer()
            return lambda: burning.burn(source, directory, drawing, letterer, reports.reached)
        case wire.PictureRequest() as still:
            from octavia_stream.media.child import picturing

            return lambda: picturing.picture(source, still, request.limits, reports.content)
        case wire.EncodeRequest() as wanted:
            from octavia_stream.media.child import recording

            return lambda: recording.record(wanted, _samples(1), reports.content)
        case wire.StreamRequest() as stream:
            from octavia_stream.media.child import segmenting

            return lambda: segmenting.segment(source, stream, _samples(2 * stream.channels), reports.piece)


def _samples(channels: int) -> pipes.ReadSamples:
    return lambda count: pipes.read_samples(_STDIN, count, channels)


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
