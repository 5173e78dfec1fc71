"""A charger of the package `ocpp` serves every action that a central system may send.

For each action, the smallest and the fullest payload that the official schema permits (the package ships the schemas) are
sent over the API, and the charger answers with the smallest and the fullest valid answer. The package validates each call
that it receives and each answer that it sends. What the charger receives must be the payload that was sent, and the
outcome that the API shows must be the charger's answer.

Arguments: the URL for chargers, the URL of the API, the version. Prints the actions that were served as JSON.
"""

import asyncio
import importlib
import importlib.util
import json
import logging
import sys
import urllib.error
import urllib.request
import uuid
from pathlib import Path

import websockets
from ocpp.charge_point import camel_to_snake_case, snake_to_camel_case
from ocpp.routing import on

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "ocpp/tests/python"))
from schema_cases import Schema  # noqa: E402

MODULES = {"1.6": "v16", "2.0.1": "v201", "2.1": "v21"}


def schemas(module):
    """The schemas of request and answer by action."""
    root = Path(importlib.util.find_spec("ocpp").origin).parent / module / "schemas"
    found = {}
    for path in root.glob("*.json"):
        action = path.stem.removesuffix("Response").removesuffix("Request")
        kind = "answer" if path.stem.endswith("Response") else "request"
        found.setdefault(action, {})[kind] = Schema(path)
    # NotifyPeriodicEventStream has no answer; only a charger sends it.
    return {action: of for action, of in sorted(found.items()) if len(of) == 2}


def request(method, url, body=None, headers={}):
    """Status and body of an answer of the API."""
    data = None if body is None else json.dumps(body).encode()
    head = {"Content-Type": "application/json", **headers}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data, head, method=method), timeout=70) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def charger_class(module, actions):
    """A class of the package with a handler for each of `actions`, which answers with what is in `answers`."""
    package = importlib.import_module(f"ocpp.{module}")
    members = {}
    for action in actions:

        async def handler(self, _action=action, **payload):
            return getattr(package.call_result, _action)(**camel_to_snake_case(self.answers[_action]))

        # The package finds handlers by their names.
        handler.__name__ = f"on_{action}"
        members[handler.__name__] = on(action)(handler)

    async def route_message(self, text):
        self.received.append(json.loads(text))
        await package.ChargePoint.route_message(self, text)

    async def _send(self, text):
        self.sent.append(json.loads(text))
        await package.ChargePoint._send(self, text)

    members |= {"route_message": route_message, "_send": _send, "answers": {}, "received": [], "sent": []}
    return type("Charger", (package.ChargePoint,), members), package


async def serve(url, api, version):
    module = MODULES[version]
    found = schemas(module)
    kind, package = charger_class(module, found)
    identity = f"SERVES-{version}"
    served, faults = [], []
    async with websockets.connect(f"{url}/{identity}", subprotocols=[f"ocpp{version}"]) as socket:
        charger = kind(identity, socket)
        listening = asyncio.create_task(charger.start())
        if module == "v16":
            boot = package.call.BootNotification(charge_point_vendor="V", charge_point_model="M")
        else:
            boot = package.call.BootNotification(charging_station={"vendor_name": "V", "model": "M"}, reason="PowerUp")
        answer = await charger.call(boot, suppress=False)
        assert answer.status == "Accepted", answer
        for _ in range(200):
            if (await asyncio.to_thread(request, "GET", f"{api}/api/v1/chargers/{identity}"))[0] == 200:
                break
            await asyncio.sleep(0.05)
        for action, of in found.items():
            for is_full in (False, True):
                payload = of["request"].smallest(of["request"].root, is_full)
                answer = of["answer"].smallest(of["answer"].root, is_full)
                # The package does not write some members under their own names, such as `limit_L2`.
                if snake_to_camel_case(camel_to_snake_case(answer)) != answer:
                    answer = of["answer"].smallest(of["answer"].root)
                charger.answers[action] = answer
                charger.received.clear()
                charger.sent.clear()
                status, command = await asyncio.to_thread(
                    request, "POST", f"{api}/api/v1/chargers/{identity}/commands",
                    {"action": action, "payload": payload},
                    {"Idempotency-Key": str(uuid.uuid4()), "Prefer": "wait=30"},
                )
                if status == 422 and "central system cannot send" in command["detail"]:
                    break
                call = next((frame for frame in charger.received if frame[0] == 2), None)
                sent = charger.sent[0] if charger.sent else None
                if status != 200 or call is None or sent is None:
                    faults.append(f"{action}: {status} {command}")
                elif call[2:] != [action, payload]:
                    faults.append(f"{action}: the charger received {call}, not {payload}")
                elif sent[0] != 3:
                    faults.append(f"{action}: the package refused: {call} {sent}")
                elif command["outcome"]["class"] != "answered" or command["outcome"]["payload"] != sent[2]:
                    faults.append(f"{action}: {sent} is shown as {command['outcome']}")
                elif is_full:
                    served.append(action)
        listening.cancel()
    if faults:
        sys.exit("\n".join(faults))
    print(json.dumps(served))


logging.getLogger("ocpp").setLevel(logging.ERROR)
asyncio.run(serve(*sys.argv[1:4]))
