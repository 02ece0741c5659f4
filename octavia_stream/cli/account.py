"""Which account a command uses on another machine's server."""

from pydantic import SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from octavia_stream.cli.client import Credentials
from octavia_stream.errors import InvalidRequest


class Password(BaseSettings):
    """The password for another machine's server: never an argument, for arguments are seen by everybody."""

    model_config = SettingsConfigDict(env_prefix="OCTAVIA_")
    password: SecretStr | None = None


def account_from(email: str | None) -> Credentials | None:
    """The account named on the command line. Raises InvalidRequest when there is no password for it."""
    if email is None:
        return None
    password = Password().password
    if password is None or not password.get_secret_value():
        raise InvalidRequest("Put the password for --email into OCTAVIA_PASSWORD.")
    return Credentials(email, password.get_secret_value())
