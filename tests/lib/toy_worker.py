# SPDX-License-Identifier: Apache-2.0
"""The simplest worker that keeps the rule (store, publish, then ACK), for testing the test tools themselves.

python3 toy_worker.py URL USER PASSWORD SQLITE_FILE [MISTAKE]: ends when nothing came for a while. A mistake makes it
break one rule, and the ledger has to notice.
"""
import json
import os
import sqlite3
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from lib import wire  # noqa: E402
from lib.ledger import NAMES  # noqa: E402
from lib.nats import Nats  # noqa: E402


def store(path, request, summary):
    db = sqlite3.connect(path)
    with db:
        db.execute("CREATE TABLE IF NOT EXISTS %s (_id TEXT PRIMARY KEY, doc TEXT NOT NULL, updated_at INTEGER)"
                   % NAMES.collection)
        db.execute("INSERT OR REPLACE INTO %s VALUES (?, ?, 0)" % NAMES.collection,
                   (request["request_id"], json.dumps({"request_id": request["request_id"], "summary": summary})))
    db.close()


def main():
    url, user, password, path = sys.argv[1:5]
    mistake = sys.argv[5] if len(sys.argv) > 5 else ""
    nats = Nats(url, user, password)
    nats.consumer_create(NAMES.requests, NAMES.durable, ack_wait=60 * 10**9)  # no redelivery, however slow the machine
    number = 0
    while True:
        messages = nats.pull(NAMES.requests, NAMES.durable, batch=8, expires=0.5)
        if not messages:
            return
        for message in messages:
            number += 1
            request = wire.decode("ContextEnrichRequest", message.data)
            summary = "about " + request["query"]
            is_wrong = number == 5 and mistake
            if not (is_wrong and mistake == "no-document"):
                store(path, request, summary)
            pack = {"request_id": request["request_id"], "summary": summary + ("!" if is_wrong and mistake == "differs" else "")}
            ready = wire.encode("ContextEnrichReady", {"request_id": request["request_id"], "pack": pack})
            if not (is_wrong and mistake == "no-output"):
                nats.js_publish(NAMES.ready_subject, ready, msg_id="toy:%s:ready:1" % request["request_id"])
            if is_wrong and mistake == "ready-twice":
                nats.js_publish(NAMES.ready_subject, ready, msg_id="toy:%s:ready:again" % request["request_id"])
            if not (is_wrong and mistake == "no-ack"):
                nats.settle(message)


main()
