"""Letters out, through the SMTP server of the settings."""

import asyncio
import smtplib
import ssl
from email.message import EmailMessage
from email.utils import formatdate, make_msgid, parseaddr

from octavia_stream.config import MailSettings
from octavia_stream.errors import DependencyUnavailable

TIMEOUT_S = 20.0
"""For each step of the talk with the server."""


class SmtpMail:
    """Sends one letter at a time, each over a connection of its own, off the loop."""

    def __init__(self, settings: MailSettings) -> None:
        self._settings = settings

    async def send(self, to: str, subject: str, text: str, *, reference: str | None = None) -> None:
        """Hand a letter over. Raises DependencyUnavailable when the server does not take it.

        reference: the same for the same letter, so that who gets it twice can tell.
        """
        letter = EmailMessage()
        letter["From"] = self._settings.sender
        letter["To"] = to
        letter["Subject"] = subject
        letter["Date"] = formatdate()
        domain = parseaddr(self._settings.sender)[1].rpartition("@")[2] or None
        letter["Message-ID"] = f"<{reference}@{domain or 'localhost'}>" if reference else make_msgid(domain=domain)
        # No other machine's holiday note should answer it (RFC 3834).
        letter["Auto-Submitted"] = "auto-generated"
        letter.set_content(text)
        try:
            await asyncio.to_thread(self._deliver, letter)
        except (smtplib.SMTPException, OSError) as error:
            raise DependencyUnavailable("The mail server did not take the letter.") from error

    def _deliver(self, letter: EmailMessage) -> None:
        with self._connected() as server:
            if self._settings.username is not None:
                password = self._settings.password.get_secret_value() if self._settings.password else ""
                server.login(self._settings.username, password)
            server.send_message(letter)

    def _connected(self) -> smtplib.SMTP:
        host, port = self._settings.host or "", self._settings.port
        if self._settings.security == "tls":
            return smtplib.SMTP_SSL(host, port, timeout=TIMEOUT_S, context=ssl.create_default_context())
        server = smtplib.SMTP(host, port, timeout=TIMEOUT_S)
        if self._settings.security == "starttls":
            try:
                server.starttls(context=ssl.create_default_context())
            except BaseException:
                server.close()
                raise
        return server
