"""Who may log in."""

from uuid import uuid4

import pytest

from octavia_stream.accounts.passwords import Passwords
from octavia_stream.accounts.store import AccountStore
from octavia_stream.errors import Conflict, InvalidRequest, NotFound, Overloaded, Unauthorized
from octavia_stream.runtime import Runtime

pytestmark = pytest.mark.services

PASSWORD = "correct horse battery"


@pytest.fixture
async def accounts(runtime: Runtime) -> AccountStore:
    await runtime.pool.execute("delete from account")
    return runtime.accounts


async def test_who_signed_up_can_log_in(accounts: AccountStore) -> None:
    account = await accounts.sign_up("ana@example.org", PASSWORD)
    assert await accounts.authenticate("ana@example.org", PASSWORD) == account
    assert await accounts.get(account.id) == account
    with pytest.raises(NotFound):
        await accounts.get(uuid4())


async def test_an_address_is_the_same_however_it_is_written(accounts: AccountStore) -> None:
    account = await accounts.sign_up("  Jose\u0301@Example.ORG ", PASSWORD)
    assert account.email == "jos\u00e9@example.org"
    assert await accounts.authenticate("JOS\u00c9@example.org", PASSWORD) == account
    with pytest.raises(Conflict):
        await accounts.sign_up("jos\u00e9@example.org", PASSWORD)


@pytest.mark.parametrize(
    "email", ["", "ana", "ana@", "@example.org", "a na@example.org", "a@b@c", "a" * 250 + "@b.org"]
)
async def test_what_is_no_address_is_refused(accounts: AccountStore, email: str) -> None:
    with pytest.raises(InvalidRequest):
        await accounts.sign_up(email, PASSWORD)


@pytest.mark.parametrize("password", ["", "nine char", "x" * 257])
async def test_a_password_too_short_or_too_long_is_refused(accounts: AccountStore, password: str) -> None:
    with pytest.raises(InvalidRequest):
        await accounts.sign_up("ana@example.org", password)


async def test_a_wrong_password_and_an_unknown_address_look_the_same(
    accounts: AccountStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same words, and the same work: one check of a hash with the same parameters."""
    await accounts.sign_up("ana@example.org", PASSWORD)
    checked: list[str] = []
    verify = Passwords._verify

    def watch(self: Passwords, hashed: str, password: str) -> bool:
        checked.append(hashed.rsplit("$", 2)[0])
        return verify(self, hashed, password)

    monkeypatch.setattr(Passwords, "_verify", watch)
    said = []
    for email in ("ana@example.org", "nobody@example.org", "no address"):
        with pytest.raises(Unauthorized) as refused:
            await accounts.authenticate(email, "a wrong password")
        said.append(str(refused.value))
    assert len(set(said)) == 1
    assert len(checked) == 3
    assert len(set(checked)) == 1
    assert checked[0] == "$argon2id$v=19$m=65536,t=3,p=4"


async def test_the_password_itself_is_nowhere_in_the_database(accounts: AccountStore, runtime: Runtime) -> None:
    await accounts.sign_up("ana@example.org", PASSWORD)
    assert PASSWORD not in str([dict(row) for row in await runtime.pool.fetch("select * from account")])


async def test_a_crowd_at_the_door_is_told_to_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("octavia_stream.accounts.passwords.MAX_WAITING", 0)
    passwords = Passwords()
    with pytest.raises(Overloaded):
        await passwords.hash(PASSWORD)
    passwords.close()
    passwords.close()
