"""My settings: what jobs are made with where they do not say, and the letters that follow them."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from aiosmtpd.smtp import SMTP, Envelope, Session

from api.app import create_app
from octavia_stream.config import MailSettings, RetentionSettings, Settings
from octavia_stream.runtime import Runtime
from tests.api.conftest import Person, ScriptedWorker, eventually, person, serving, upload_video

pytestmark = pytest.mark.services

SETTINGS = "/api/v1/me/settings"
NOTHING = {
    "source_language": None,
    "target_language": None,
    "voice": None,
    "retention_days": None,
    "notify_completed": False,
    "notify_failed": False,
}
SUBTITLES = b"1\n00:00:00,000 --> 00:00:01,000\nGood morning.\n"


class Mailbox:
    """Whom an SMTP server on this machine took letters for."""

    def __init__(self) -> None:
        self.letters: list[tuple[str, str]] = []

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        content = (envelope.content or b"").decode()  # type: ignore[union-attr]
        subject = next(line for line in content.splitlines() if line.startswith("Subject: "))
        self.letters += [(recipient, subject.removeprefix("Subject: ")) for recipient in envelope.rcpt_tos]
        return "250 taken"

    def to(self, somebody: Person) -> list[str]:
        return [subject for recipient, subject in self.letters if recipient == somebody.email]


@pytest.fixture(scope="module")
def mailbox() -> Mailbox:
    return Mailbox()


@pytest.fixture(scope="module")
async def settings(settings: Settings, mailbox: Mailbox) -> AsyncIterator[Settings]:
    """Of a server that sends letters and keeps results for a month."""
    smtp = await asyncio.get_running_loop().create_server(lambda: SMTP(mailbox), "127.0.0.1", 0)
    mail = MailSettings(host="127.0.0.1", port=smtp.sockets[0].getsockname()[1], security="none")
    retention = RetentionSettings(results_days=30, results_days_by_tier={"studio": 365})
    yield settings.model_copy(update={"mail": mail, "retention": retention})
    smtp.close()
    await smtp.wait_closed()


@pytest.fixture
async def carol(address: str) -> AsyncIterator[Person]:
    async with person(address) as somebody:
        yield somebody


async def change(somebody: Person, **wish: Any) -> dict[str, Any]:
    answer = await somebody.http.patch(SETTINGS, json=wish)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_what_is_left_out_stays_and_null_takes_away(carol: Person) -> None:
    assert (await carol.http.get(SETTINGS)).json() == NOTHING
    first = await change(carol, target_language="pt-BR", source_language="en", retention_days=7)
    assert first == {**NOTHING, "target_language": "pt", "source_language": "en", "retention_days": 7}
    second = await change(carol, source_language=None, notify_failed=True)
    assert second == {**NOTHING, "target_language": "pt", "retention_days": 7, "notify_failed": True}
    assert (await carol.http.get(SETTINGS)).json() == second
    assert await change(carol) == second


async def test_changes_at_once_lose_nothing(carol: Person) -> None:
    wishes: list[dict[str, Any]] = [{"target_language": "pt"}, {"retention_days": 3}, {"notify_failed": True}]
    await asyncio.gather(*(change(carol, **wish) for wish in wishes))
    assert (await carol.http.get(SETTINGS)).json() == {
        **NOTHING, "target_language": "pt", "retention_days": 3, "notify_failed": True
    }  # fmt: skip


@pytest.mark.parametrize(
    ("wish", "status"),
    [
        ({"target_language": "xx-nonsense"}, 422),
        ({"voice": "nobody"}, 422),
        ({"retention_days": 31}, 400),
        ({"retention_days": 0}, 400),
        ({"notify_failed": None}, 400),
        ({"colour": "blue"}, 400),
    ],
)
async def test_what_cannot_be_is_refused(carol: Person, wish: dict[str, Any], status: int) -> None:
    answer = await carol.http.patch(SETTINGS, json=wish)
    assert answer.status_code == status, answer.text
    assert (await carol.http.get(SETTINGS)).json() == NOTHING


async def test_a_tier_keeps_results_longer(carol: Person, runtime: Runtime) -> None:
    await runtime.pool.execute("update tenant set tier = 'studio' where id = $1", carol.id)
    assert (await change(carol, retention_days=365))["retention_days"] == 365
    assert (await carol.http.patch(SETTINGS, json={"retention_days": 366})).status_code == 400


async def test_where_no_letters_are_sent_none_can_be_asked_for(settings: Settings, carol: Person) -> None:
    silent = settings.model_copy(update={"mail": MailSettings()})
    async with (
        serving(create_app(silent), silent) as url,
        httpx.AsyncClient(base_url=url, headers=carol.http.headers) as client,
    ):
        assert (await client.patch(SETTINGS, json={"notify_failed": True})).status_code == 409
        assert (await client.patch(SETTINGS, json={"notify_failed": False})).status_code == 200


async def voice_of(somebody: Person, language: str) -> str:
    """The last one, which is not the default where there are several."""
    voices = (await somebody.http.get("/api/v1/voices", params={"language": language})).json()["voices"]
    last: str = voices[-1]["id"]
    return last


async def create(somebody: Person, kind: str, upload_id: str, **wish: Any) -> dict[str, Any]:
    answer = await somebody.http.post(f"/api/v1/jobs/{kind}/create", json={"upload_id": upload_id, **wish})
    assert answer.status_code == 201, answer.text
    options: dict[str, Any] = answer.json()["options"]
    return options


async def test_a_job_takes_from_the_settings_what_it_does_not_say(carol: Person) -> None:
    upload = (await upload_video(carol))["id"]
    refused = await carol.http.post("/api/v1/jobs/video-translate/create", json={"upload_id": upload})
    assert refused.status_code == 400
    voice = await voice_of(carol, "pt")
    await change(carol, source_language="en", target_language="pt", voice=voice)
    for kind in ("video-translate", "audio-translate"):
        made = await create(carol, kind, upload)
        assert (made["source_language"], made["target_language"], made["voice"]) == ("en", "pt", voice)
    detected = await create(carol, "video-translate", upload, source_language=None)
    assert (detected["source_language"], detected["target_language"]) == (None, "pt")
    other = await create(carol, "video-translate", upload, target_language="en")
    assert (other["source_language"], other["target_language"]) == (None, "en"), "what is asked for is not spoken"
    assert other["voice"] != voice, "it does not speak English"
    written = await create(carol, "subtitle-generate", upload)
    assert (written["source_language"], written["target_languages"]) == ("en", [])


async def test_a_job_of_subtitles_believes_the_file_before_the_settings(carol: Person) -> None:
    async def bring(name: str, content: bytes) -> str:
        files = {"file": (name, content)}
        answer = await carol.http.post("/api/v1/upload", params={"file_type": "subtitle"}, files=files)
        assert answer.status_code == 201, answer.text
        upload_id: str = answer.json()["id"]
        return upload_id

    silent = await bring("silent.srt", SUBTITLES)
    for kind in ("subtitle-translate", "subtitle-to-audio"):
        refused = await carol.http.post(f"/api/v1/jobs/{kind}/create", json={"upload_id": silent})
        assert (refused.status_code, "settings" in refused.json()["detail"]) == (400, True)
    await change(carol, source_language="en", target_language="pt")
    made = await create(carol, "subtitle-translate", silent)
    assert (made["source_language"], made["target_languages"]) == ("en", ["pt"])
    spoken = await create(carol, "subtitle-to-audio", silent)
    assert (spoken["source_language"], spoken["target_language"]) == ("pt", "pt")


async def started(somebody: Person, upload_id: str) -> str:
    wish = {"upload_id": upload_id, "target_language": "pt"}
    answer = await somebody.http.post("/api/v1/jobs/video-translate/create", json=wish)
    job_id: str = answer.json()["id"]
    assert (await somebody.http.post(f"/api/v1/jobs/{job_id}/process")).status_code == 202
    return job_id


async def test_letters_come_for_what_is_wished_and_each_run(
    carol: Person, mailbox: Mailbox, worker: ScriptedWorker, runtime: Runtime
) -> None:
    upload = (await upload_video(carol, "my talk.mp4"))["id"]
    await worker.play(await started(carol, upload))
    await change(carol, notify_failed=True)
    await worker.play(await started(carol, upload))
    failing = await started(carol, upload)
    await worker.take(failing)
    await worker.fail("no_speech", "There is no speech in this file.")
    await change(carol, notify_completed=True)
    assert (await carol.http.post(f"/api/v1/jobs/{failing}/retry")).status_code == 202
    await worker.play(failing)
    cancelled = await started(carol, upload)
    assert (await carol.http.post(f"/api/v1/jobs/{cancelled}/cancel")).status_code == 202

    async def all_there() -> bool:
        return len(mailbox.to(carol)) >= 2 and not await runtime.pool.fetchval("select count(*) from letter")

    await eventually(all_there, "the server sends its letters")
    assert sorted(mailbox.to(carol)) == ["Done: my talk.mp4", "Failed: my talk.mp4"]


async def test_in_a_team_the_letter_goes_to_who_asked(
    carol: Person, alice: Person, mailbox: Mailbox, worker: ScriptedWorker, runtime: Runtime
) -> None:
    team = (await alice.http.post("/api/v1/teams", json={"name": "Dubbers"})).json()["id"]
    await runtime.pool.execute("insert into team_member values ($1, $2, 'member')", UUID(team), carol.id)
    upload = (await upload_video(carol, f"{uuid4().hex}.mp4"))["id"]
    gift = await carol.http.post(f"/api/v1/teams/{team}/uploads", json={"upload_id": upload})
    assert gift.status_code == 204
    for somebody in (alice, carol):
        await change(somebody, notify_completed=True, target_language="pt")
    wish = {"upload_id": upload, "team_id": team}
    job = (await carol.http.post("/api/v1/jobs/video-translate/create", json=wish)).json()
    assert job["options"]["target_language"] == "pt"
    await alice.http.post(f"/api/v1/jobs/{job['id']}/process")
    await worker.play(job["id"])

    async def there() -> bool:
        return bool(mailbox.to(carol))

    await eventually(there, "the letter comes")
    assert mailbox.to(alice) == []
