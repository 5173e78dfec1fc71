"""One charging session with an independent client library.

Usage: charging_session.py URL VERSION IDENTITY [PASSWORD]

The PyPI package `ocpp` acts as a charger and validates every answer against the official JSON schemas (it
raises an exception if one does not conform). Values of the answers are printed as one JSON object, so
that the test can compare them with the stored data.
"""

import asyncio
import base64
import inspect
import json
import sys
from datetime import datetime, timedelta, timezone

import websockets

START = datetime(2026, 1, 5, 8, 0, 0, tzinfo=timezone.utc)


def at(minutes):
    return (START + timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%M:%SZ")


async def session_16(charger, call):
    answers = {}
    boot = await charger.call(
        call.BootNotification(charge_point_model="Model S", charge_point_vendor="Independent")
    )
    answers["boot"] = boot.status
    answers["interval"] = boot.interval
    await charger.call(
        call.StatusNotification(connector_id=1, error_code="NoError", status="Available", timestamp=at(0))
    )
    answers["time"] = (await charger.call(call.Heartbeat())).current_time
    answers["authorize"] = (await charger.call(call.Authorize(id_tag="TAG-1"))).id_tag_info["status"]
    start = await charger.call(
        call.StartTransaction(connector_id=1, id_tag="TAG-1", meter_start=1000, timestamp=at(1))
    )
    answers["start"] = start.id_tag_info["status"]
    answers["transaction_id"] = start.transaction_id
    for minute in range(2, 7):
        await charger.call(
            call.MeterValues(
                connector_id=1,
                transaction_id=start.transaction_id,
                meter_value=[
                    {
                        "timestamp": at(minute),
                        "sampled_value": [
                            {"value": str(1000 + 100 * minute), "measurand": "Energy.Active.Import.Register", "unit": "Wh"},
                            {"value": "7.4", "measurand": "Power.Active.Import", "unit": "kW"},
                        ],
                    }
                ],
            )
        )
    await charger.call(
        call.StopTransaction(
            transaction_id=start.transaction_id, id_tag="TAG-1", meter_stop=1700, timestamp=at(7), reason="Local"
        )
    )
    data = await charger.call(call.DataTransfer(vendor_id="Independent", message_id="x", data="y"))
    answers["data_transfer"] = data.status
    await charger.call(call.FirmwareStatusNotification(status="Idle"))
    await charger.call(call.DiagnosticsStatusNotification(status="Idle"))
    await charger.call(
        call.SecurityEventNotification(type="StartupOfTheDevice", timestamp=at(0), tech_info="power on")
    )
    return answers


async def session_2x(charger, call):
    answers = {}
    boot = await charger.call(
        call.BootNotification(
            charging_station={"model": "Model S", "vendor_name": "Independent"}, reason="PowerUp"
        )
    )
    answers["boot"] = boot.status
    answers["interval"] = boot.interval
    await charger.call(
        call.StatusNotification(timestamp=at(0), connector_status="Available", evse_id=1, connector_id=1)
    )
    answers["time"] = (await charger.call(call.Heartbeat())).current_time
    token = {"id_token": "TAG-1", "type": "ISO14443"}
    answers["authorize"] = (await charger.call(call.Authorize(id_token=token))).id_token_info["status"]

    async def event(kind, seq_no, minute, trigger, **more):
        return await charger.call(
            call.TransactionEvent(
                event_type=kind,
                timestamp=at(minute),
                trigger_reason=trigger,
                seq_no=seq_no,
                transaction_info={"transaction_id": "session-1", **more.pop("info", {})},
                **more,
            )
        )

    started = await event(
        "Started", 0, 1, "Authorized", id_token=token, evse={"id": 1, "connector_id": 1},
        meter_value=meter_value(1, 1000),
    )
    answers["start"] = started.id_token_info["status"]
    answers["transaction_id"] = "session-1"
    for seq_no, minute in enumerate(range(2, 7), start=1):
        await event("Updated", seq_no, minute, "MeterValuePeriodic", meter_value=meter_value(minute, 1000 + 100 * minute))
    await event(
        "Ended", 6, 7, "EVDeparted", info={"stopped_reason": "EVDisconnected"}, meter_value=meter_value(7, 1700)
    )
    data = await charger.call(call.DataTransfer(vendor_id="Independent"))
    answers["data_transfer"] = data.status
    await charger.call(call.FirmwareStatusNotification(status="Idle"))
    await charger.call(call.SecurityEventNotification(type="StartupOfTheDevice", timestamp=at(0)))
    return answers


def meter_value(minute, energy_wh):
    return [
        {
            "timestamp": at(minute),
            "sampled_value": [
                {
                    "value": energy_wh,
                    "measurand": "Energy.Active.Import.Register",
                    "unit_of_measure": {"unit": "Wh"},
                }
            ],
        }
    ]


async def main():
    url, version, identity = sys.argv[1:4]
    password = sys.argv[4] if len(sys.argv) > 4 else None
    if version == "1.6":
        from ocpp.v16 import ChargePoint, call
        session, subprotocol = session_16, "ocpp1.6"
    elif version == "2.0.1":
        from ocpp.v201 import ChargePoint, call
        session, subprotocol = session_2x, "ocpp2.0.1"
    else:
        from ocpp.v21 import ChargePoint, call
        session, subprotocol = session_2x, "ocpp2.1"
    headers = {}
    if password is not None:
        basic = base64.b64encode(f"{identity}:{password}".encode()).decode()
        headers["Authorization"] = f"Basic {basic}"
    # The parameter was renamed between releases of the package.
    named = inspect.signature(websockets.connect).parameters
    key = "additional_headers" if "additional_headers" in named else "extra_headers"
    async with websockets.connect(f"{url}/{identity}", subprotocols=[subprotocol], **{key: headers}) as socket:
        assert socket.subprotocol == subprotocol, socket.subprotocol
        charger = ChargePoint(identity, socket)
        listening = asyncio.create_task(charger.start())
        answers = await asyncio.wait_for(session(charger, call), timeout=30)
        answers["extensions"] = [type(extension).__name__ for extension in getattr(socket, "extensions", []) or getattr(socket.protocol, "extensions", [])]
        listening.cancel()
    print(json.dumps(answers))


asyncio.run(main())
