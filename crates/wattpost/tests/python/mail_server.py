"""An SMTP server on 127.0.0.1 (aiosmtpd): prints each mail that it accepts as one line of JSON.

Arguments: its port, and a file. While that file exists, night@example.com has no mailbox.
"""

import email
import email.policy
import json
import os
import sys
import threading

from aiosmtpd.controller import Controller


class Printing:
    async def handle_RCPT(self, server, session, envelope, address, options):
        if address == "night@example.com" and os.path.exists(sys.argv[2]):
            return "550 no mailbox"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
        line = {
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "subject": mail["Subject"],
            "message_id": mail["Message-ID"],
            "text": mail.get_content(),
        }
        print(json.dumps(line), flush=True)
        return "250 OK"


controller = Controller(Printing(), hostname="127.0.0.1", port=int(sys.argv[1]))
controller.start()
threading.Event().wait()
