"""Calls the API through a client that `openapi-python-client` generated from the OpenAPI document.

Arguments: the directory with the generated package `wattpost_client`, the URL of the API, an API key. Prints what it found
as JSON. The types of this file are checked by mypy against those of the generated client.
"""

import json
import sys
from io import BytesIO
from uuid import uuid4

from wattpost_client import AuthenticatedClient
from wattpost_client.api.chargers import chargers_list, chargers_one
from wattpost_client.api.commands import commands_create, commands_one
from wattpost_client.api.tokens import tokens_import
from wattpost_client.models import ChargerWithDetails, Command, Import, NewCommand, PageCharger, Problem
from wattpost_client.types import UNSET, File, Unset


def identities(client: AuthenticatedClient) -> list[str]:
    """All chargers, page by page."""
    found: list[str] = []
    cursor: str | Unset = UNSET
    while True:
        page = chargers_list.sync(client=client, limit=2, cursor=cursor)
        assert isinstance(page, PageCharger), page
        found += [str(item.to_dict()["charger_id"]) for item in page.items]
        if not page.next_:
            return found
        cursor = page.next_


def reset(client: AuthenticatedClient, charger: str) -> Command:
    """Sends a command and waits for its outcome."""
    body = NewCommand.from_dict({"action": "Reset", "payload": {"type": "Soft"}})
    command = commands_create.sync(charger, client=client, body=body, idempotency_key=str(uuid4()))
    assert isinstance(command, Command), command
    done = commands_one.sync(command.id, client=client, wait=30)
    assert isinstance(done, Command), done
    return done


def imported(client: AuthenticatedClient, text: str) -> Import:
    """Imports a file of tokens."""
    body = File(payload=BytesIO(text.encode()))
    found = tokens_import.sync(client=client, body=body, idempotency_key=str(uuid4()))
    assert isinstance(found, Import), found
    return found


def main() -> None:
    client = AuthenticatedClient(base_url=sys.argv[2], token=sys.argv[3])
    charger = chargers_one.sync("CP-17", client=client)
    assert isinstance(charger, ChargerWithDetails), charger
    unknown = chargers_one.sync("NOBODY", client=client)
    assert isinstance(unknown, Problem), unknown
    command = reset(client, "CP-17")
    first = imported(client, "id,status\nCLIENT-1,Accepted\n")
    again = imported(client, "id,status\nCLIENT-1,Blocked\n")
    print(
        json.dumps(
            {
                "identities": identities(client),
                "imported": [first.created, again.created, again.updated],
                "online": charger.online,
                "unknown": unknown.code,
                "command": command.to_dict(),
            }
        )
    )


main()
