"""What clients do about a death while a file comes in pieces, while it is looked at, or while it goes with a team."""

from octavia_stream.crash_points import CrashPoint
from tests.faults.server import SUBTITLES, TUS, Server, walk

HALF = SUBTITLES[: len(SUBTITLES) // 2]
NONSENSE = b"\x00" * len(SUBTITLES)


@walk(
    CrashPoint.PIECE_STORED,
    CrashPoint.PIECE_RECORDED,
    CrashPoint.PIECES_ASSEMBLED,
    CrashPoint.PIECES_RECORDED,
)
async def a_resumable_upload_goes_on(server: Server, point: CrashPoint) -> None:
    where = await server.opened_pieces()
    await server.die(point, lambda: server.send_piece(where))
    await server.runtime.pool.execute("update resumable_upload set finishing_until = now() - interval '1 ms'")
    progress = await server.http.head(where, headers=TUS)
    assert progress.status_code == 200
    offset = int(progress.headers["upload-offset"])
    assert offset == (0 if point is CrashPoint.PIECE_STORED else len(SUBTITLES))
    if offset < len(SUBTITLES):
        assert (await server.send_piece(where, offset=offset)).status_code == 204
    (upload,) = await server.runtime.uploads.list_uploads(server.person, 10)
    assert await server.runtime.objects.get(upload.key) == SUBTITLES
    if point is CrashPoint.PIECES_RECORDED:
        # The next api removes what its predecessor did not get to, when it starts.
        await server.none_left("object_removal")
    await server.nothing_is_off(orphans=point is CrashPoint.PIECES_ASSEMBLED)
    assert await server.stored("tus") == []


@walk(CrashPoint.UPLOAD_OPENED)
async def a_resumable_upload_is_begun_again(server: Server, point: CrashPoint) -> None:
    await server.die(point, server.open_pieces)
    assert (await server.send_piece(await server.opened_pieces())).status_code == 204
    assert len(await server.runtime.uploads.list_uploads(server.person, 10)) == 1
    await server.nothing_is_off()


@walk(CrashPoint.UPLOAD_GIVEN_UP)
async def a_resumable_upload_is_given_up_once_more(server: Server, point: CrashPoint) -> None:
    where = await server.opened_pieces()
    assert (await server.send_piece(where, HALF)).status_code == 204
    await server.die(point, lambda: server.http.delete(where, headers=TUS))
    assert (await server.http.delete(where, headers=TUS)).status_code == 404
    await nothing_is_left_of_pieces(server)


@walk(CrashPoint.UPLOADS_LAPSED)
async def the_time_of_a_resumable_upload_is_over(server: Server, point: CrashPoint) -> None:
    where = await server.opened_pieces()
    assert (await server.send_piece(where, HALF)).status_code == 204
    await server.runtime.pool.execute("update resumable_upload set expires_at = now()")
    await server.die_at_start(crash_point=point)
    assert (await server.http.head(where, headers=TUS)).status_code == 404
    await nothing_is_left_of_pieces(server)


@walk(CrashPoint.UPLOAD_REFUSED)
async def a_client_learns_why_its_file_was_refused(server: Server, point: CrashPoint) -> None:
    where = await server.opened_pieces(len(NONSENSE))
    await server.die(point, lambda: server.send_piece(where, NONSENSE))
    assert (await server.http.head(where, headers=TUS)).status_code == 422
    await nothing_is_left_of_pieces(server)


async def nothing_is_left_of_pieces(server: Server) -> None:
    """Neither the pieces nor the room that was kept for the rest."""
    if await server.stored("tus"):
        # The next api removes what its predecessor did not get to, when it starts.
        await server.none_left("object_removal where key like 'tus/%'")
    assert await server.stored("tus") == []
    rooms = await server.runtime.pool.fetchval("select count(*) from open_upload where owner_id = $1", server.person)
    assert rooms == 0
    await server.nothing_is_off()


@walk(CrashPoint.PREVIEW_STORED)
async def a_preview_is_asked_for_again(server: Server, point: CrashPoint) -> None:
    upload = await server.uploaded()
    where = f"/api/v1/uploads/{upload.id}"
    await server.die(point, lambda: server.http.get(f"{where}/peaks"))
    (kept,) = await server.stored(f"previews/{upload.id}")
    answer = await server.http.get(f"{where}/peaks")
    assert answer.status_code == 200
    assert answer.content == await server.runtime.objects.get(kept)
    await server.nothing_is_off()
    assert (await server.http.delete(where)).status_code == 204
    assert await server.stored(f"previews/{upload.id}") == []
    await server.nothing_is_off()


@walk(CrashPoint.TEAM_FORGOTTEN)
async def a_team_is_deleted_once_more(server: Server, point: CrashPoint) -> None:
    made = await server.http.post("/api/v1/teams", json={"name": "Dubbers"})
    assert made.status_code == 201, made.text
    where = f"/api/v1/teams/{made.json()['id']}"
    upload = await server.uploaded(SUBTITLES)
    assert (await server.http.post(f"{where}/uploads", json={"upload_id": str(upload.id)})).status_code == 204
    await server.die(point, lambda: server.http.delete(where))
    assert (await server.http.delete(where)).status_code == 404
    # The next api removes what its predecessor did not get to, when it starts.
    await server.none_left("object_removal")
    assert upload.key not in await server.stored("uploads")
    await server.nothing_is_off()
