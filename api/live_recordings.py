"""The recording of a live session as an upload: to be dubbed once more, at the quality of files."""

from litestar import Router, post

from api.auth import PROTECTED
from api.errors import problems
from api.identity import for_keys
from api.live import LiveId, owned_session
from api.services import OwnerId, TheServices, WhoAsks
from api.uploads import UploadView, view
from octavia_stream.sessions.recording import Recordings


@post(
    "/sessions/{live_id:uuid}/recording",
    operation_id="liveRecording",
    summary="Make an upload of a recording",
    status_code=200,
    opt=for_keys("uploads:write"),
    responses=problems(401, 404, 409, 507),
)
async def make_upload(live_id: LiveId, owner_id: OwnerId, identity: WhoAsks, services: TheServices) -> UploadView:
    """Of a session that has ended and was created with `record`; the same upload however often you ask.

    All speakers together, from the first thing that was said on. Create jobs from it as from any other upload.
    """
    session = await owned_session(live_id, owner_id, services)
    return view(await Recordings(services.runtime).upload(session, identity.account_id))


recordings = Router("", route_handlers=[make_upload], security=PROTECTED)
