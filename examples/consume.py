#!/usr/bin/env python3
"""Reads the MeterValues of all chargers from Wattpost's RabbitMQ, with a queue of its own.

    pip install pika
    python consume.py amqp://USER:PASSWORD@HOST:5672/%2f

What a message says is described in docs/messages.md and docs/asyncapi.yaml.
"""

import json
import sys

import pika

QUEUE = "example.meter-values"  # a queue of its own: do not consume from Wattpost's


def on_message(channel, method, _properties, body):
    record = json.loads(body)
    if record["v"] == 1:  # this program knows no other version
        print(record["charger_id"], record["received_at"], json.dumps(record["payload"]), flush=True)
    channel.basic_ack(method.delivery_tag)


connection = pika.BlockingConnection(pika.URLParameters(sys.argv[1]))
channel = connection.channel()
channel.queue_declare(QUEUE, durable=True, arguments={"x-queue-type": "quorum"})
# PARTITION.OCPP-VERSION.KIND.ACTION.CHARGER: * stands for one word.
channel.queue_bind(QUEUE, "wattpost.records", "*.*.call.MeterValues.*")
channel.basic_qos(prefetch_count=100)
channel.basic_consume(QUEUE, on_message)
print("listening", flush=True)
channel.start_consuming()
