#!/usr/bin/env python3
"""Sends mail with `bursar notify test` to a mail server of other people, and checks what arrives.

usage: conformance_smtp.py BURSAR

BURSAR is the built command line. The server is aiosmtpd, with certificates of trustme.
"""

import asyncio
import contextlib
import email
import email.policy
import email.utils
import json
import logging
import os
import pathlib
import ssl
import subprocess
import sys
import tempfile
import threading
import warnings

import trustme
from aiosmtpd.smtp import SMTP, AuthResult

from harness import Checks, expect

NAME = "localhost"
LOGIN = "bursar"
PASSWORD = "canary-lantern-orchard"


class Mailbox:
    """Keeps what the server takes; answers a recipient with `refusal` where there is one."""

    def __init__(self, refusal=None):
        self.refusal = refusal
        self.mails = []
        self.logins = []

    def authenticate(self, server, session, envelope, mechanism, data):
        self.logins.append((session.ssl is not None, data.login, data.password))
        fits = (data.login, data.password) == (LOGIN.encode(), PASSWORD.encode())
        return AuthResult(success=fits, handled=False)

    async def handle_RCPT(self, server, session, envelope, address, options):
        if self.refusal:
            return self.refusal
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
        self.mails.append((envelope.mail_from, envelope.rcpt_tos, mail))
        return "250 OK"


@contextlib.contextmanager
def listening(mailbox, context, tls):
    """The port of a server that is encrypted after a word, from the first byte, or not at all."""
    options = {"hostname": NAME, "authenticator": mailbox.authenticate}
    if tls == "starttls":
        options |= {"tls_context": context, "require_starttls": True, "auth_required": True}
    elif tls == "implicit":
        # The connection is encrypted below the protocol, which must not ask for it again.
        options |= {"auth_required": True, "auth_require_tls": False}
    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(
        loop.create_server(
            lambda: SMTP(mailbox, loop=loop, **options),
            host="127.0.0.1",
            port=0,
            ssl=context if tls == "implicit" else None,
        )
    )
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        server.close()
        loop.run_until_complete(ended(loop))
        loop.close()


async def ended(loop):
    """Connections that a client left open are dropped."""
    for task in asyncio.all_tasks(loop) - {asyncio.current_task()}:
        task.cancel()
    await asyncio.sleep(0)


class Installation:
    """A folder with settings, a store, and the command line on it."""

    def __init__(self, bursar, folder):
        self.bursar = bursar
        self.folder = pathlib.Path(folder)
        (self.folder / "home").mkdir()

    def write(self, name, text, mode=0o600):
        path = self.folder / name
        path.unlink(missing_ok=True)
        path.write_text(text, encoding="utf-8")
        path.chmod(mode)

    def settings(self, port, tls, host=NAME, ca="authority.pem", password=PASSWORD):
        self.write("mail-password", f"{password}\n", 0o400)
        trusted = f'ca_file = "{ca}"\n' if ca else ""
        self.write(
            "bursar.toml",
            f'[notify.email]\nhost = "{host}"\nport = {port}\ntls = "{tls}"\n'
            'from = "bursar@example.com"\noperator = "ops@example.com"\n'
            f'username = "{LOGIN}"\npassword_file = "mail-password"\n{trusted}',
        )

    def run(self, *words):
        environment = {"HOME": str(self.folder / "home"), "PATH": os.environ["PATH"]}
        ran = subprocess.run(
            [self.bursar, *words],
            cwd=self.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
        )
        expect(PASSWORD not in ran.stdout + ran.stderr, "the password is in what was printed")
        return ran

    def done(self, *words):
        ran = self.run(*words)
        expect(ran.returncode == 0, f"{words} ended with {ran.returncode}: {ran.stderr}")
        return ran.stdout

    def tried(self, *words):
        """What `notify test` says of the one channel that there is."""
        ran = self.run("notify", "test", "--json", *words)
        (channel,) = json.loads(ran.stdout)["channels"]
        expect(channel["channel"] == "email", channel)
        expect(channel["delivered"] == (ran.returncode == 0), f"{ran.returncode} for {channel}")
        return channel


def context_for(authority, name):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(name).configure_cert(context)
    return context


def main():
    (bursar,) = sys.argv[1:] if len(sys.argv) == 2 else sys.exit(__doc__)
    checks = Checks()
    # It tells of each handshake that fails, which some are to do, and warns of a login that only the connection hides.
    logging.disable()
    warnings.simplefilter("ignore", UserWarning)
    authority, stranger = trustme.CA(), trustme.CA()
    context = context_for(authority, NAME)
    with tempfile.TemporaryDirectory() as folder:
        desk = Installation(os.path.abspath(bursar), folder)
        desk.write("authority.pem", authority.cert_pem.bytes().decode())

        def a_store():
            desk.done("init", "--yes", "--recovery-file", "home/recovery.txt")
            desk.done("user", "add", "mara_ilves", "--email", "mara@example.com", "--tier", "basic")

        def delivered(tls):
            mailbox = Mailbox()
            with listening(mailbox, context, tls) as port:
                desk.settings(port, tls)
                channel = desk.tried()
            expect(channel["delivered"], channel)
            ((sender, receivers, mail),) = mailbox.mails
            expect(sender == "bursar@example.com", sender)
            expect(receivers == ["ops@example.com"], receivers)
            for _, login, _ in mailbox.logins:
                expect(login == LOGIN.encode(), login)
            expect(mailbox.logins, "nobody logged in")
            return mailbox, mail

        def after_a_word():
            mailbox, _ = delivered("starttls")
            expect(all(encrypted for encrypted, _, _ in mailbox.logins), "the password went out in the clear")

        def from_the_first_byte():
            delivered("implicit")

        def headers():
            _, mail = delivered("starttls")
            expect(not mail.defects, mail.defects)
            expect(mail["From"].addresses[0].addr_spec == "bursar@example.com", mail["From"])
            expect(mail["To"].addresses[0].addr_spec == "ops@example.com", mail["To"])
            expect(mail["Subject"].strip(), "no subject")
            expect(mail["Date"].datetime is not None, mail["Date"])
            expect(mail["Message-ID"].endswith("@example.com>"), mail["Message-ID"])
            expect(mail["Auto-Submitted"] == "auto-generated", mail["Auto-Submitted"])
            expect(mail.get_content_type() == "text/plain", mail.get_content_type())
            expect(mail.get_content().strip(), "nothing in it")

        def to_a_user():
            mailbox = Mailbox()
            with listening(mailbox, context, "starttls") as port:
                desk.settings(port, "starttls")
                channel = desk.tried("--user", "mara_ilves")
            expect(channel["delivered"], channel)
            ((_, receivers, _),) = mailbox.mails
            expect(receivers == ["mara@example.com"], receivers)

        def refused(why, mailbox=None, context=context, tls="starttls", asked="starttls", **settings):
            mailbox = mailbox or Mailbox()
            with listening(mailbox, context, tls) as port:
                desk.settings(port, asked, **settings)
                channel = desk.tried()
            expect(not channel["delivered"], "it was delivered")
            expect(why in channel["why"], channel["why"])
            expect(not mailbox.mails, "a mail was taken")
            return mailbox

        def nobody_learned_the_password(mailbox):
            expect(not mailbox.logins, f"{len(mailbox.logins)} logins at a server that proved nothing")

        def another_password():
            mailbox = refused("does not accept the login, code 535", password="another")
            expect(mailbox.logins, "nobody logged in")

        def an_unknown_authority():
            nobody_learned_the_password(refused("certificate is not trusted", ca=None))

        def a_server_of_another_name():
            other = context_for(authority, "mail.example.com")
            nobody_learned_the_password(refused("certificate is not trusted", context=other))

        def another_authority():
            nobody_learned_the_password(
                refused("certificate is not trusted", context=context_for(stranger, NAME))
            )

        def the_wrong_kind_of_encryption():
            nobody_learned_the_password(refused("look at `tls`", asked="implicit"))

        def no_encryption_offered():
            nobody_learned_the_password(refused("cannot do what is asked", tls="none"))

        def a_receiver_that_is_refused():
            refused("refuses the message, code 550", Mailbox("550 no such mailbox"))

        def a_receiver_that_is_refused_for_now():
            refused("asks for patience, code 451", Mailbox("451 try again"))

        checks.must("a store with a user", a_store)
        checks.run("a mail, encrypted after a word", after_a_word)
        checks.run("a mail, encrypted from the first byte", from_the_first_byte)
        checks.run("headers and words", headers)
        checks.run("a mail to a user", to_a_user)
        checks.run("another password", another_password)
        checks.run("a certificate of an unknown authority", an_unknown_authority)
        checks.run("a certificate of another authority", another_authority)
        checks.run("a certificate for another name", a_server_of_another_name)
        checks.run("a port with another kind of encryption", the_wrong_kind_of_encryption)
        checks.run("a server without encryption", no_encryption_offered)
        checks.run("a receiver that is refused", a_receiver_that_is_refused)
        checks.run("a receiver that is refused for now", a_receiver_that_is_refused_for_now)
    checks.finish()


if __name__ == "__main__":
    main()
