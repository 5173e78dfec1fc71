"""The library of Standard Webhooks judges messages as a receiver that has one secret.

Reads a list of {"secret", "headers", "body"} as JSON from stdin, and prints for each of them whether the library accepts
it, as a JSON list of booleans.
"""

import json
import sys

from standardwebhooks import Webhook, WebhookVerificationError


def is_accepted(message):
    webhook = Webhook(message["secret"])
    try:
        read = webhook.verify(message["body"], message["headers"])
    except WebhookVerificationError:
        return False
    assert read == json.loads(message["body"])
    return True


print(json.dumps([is_accepted(message) for message in json.load(sys.stdin)]))
