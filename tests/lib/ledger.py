# SPDX-License-Identifier: Apache-2.0
"""The books, kept from outside: what the streams, the database and the LLM simulator say. Never the worker's own word."""
import collections

from lib import wire

Names = collections.namedtuple("Names", "requests ready dead request_subject ready_subject dead_subject durable collection")
NAMES = Names("ENRICH_REQUESTS", "ENRICH_READY", "ENRICH_DEAD", "context.enrich.request", "context.enrich.ready",
              "context.enrich.dead", "context-enricher", "context_packs")


class Ledger:
    def __init__(self, nats, store, names=NAMES):
        self.nats, self.store, self.names = nats, store, names

    def in_stream(self, stream):
        return self.nats.stream_state(stream)["messages"] if self.nats.stream_exists(stream) else 0

    def outputs(self):
        return self.nats.messages(self.names.ready) if self.nats.stream_exists(self.names.ready) else []

    def dead(self):
        return self.nats.messages(self.names.dead) if self.nats.stream_exists(self.names.dead) else []

    def ready_events(self):
        return [wire.decode("ContextEnrichReady", one.data) for one in self.outputs()]

    def documents(self):
        return self.store.documents(self.names.collection)

    def consumer(self):
        return self.nats.consumer_info(self.names.requests, self.names.durable)

    def counts(self):
        """Everything that can be counted, for a test to compare and for people to read."""
        outputs = self.outputs()
        state = self.nats.stream_state(self.names.requests)
        consumer = self.consumer()
        dead = self.in_stream(self.names.dead)
        published = state["last_seq"]
        waiting = state["messages"] if self.removes_acked() else published - consumer["ack_floor"]["stream_seq"]
        return {
            "published": published,
            "documents": len(self.documents()),
            "outputs": len(outputs),
            "distinct outputs": len({one.headers.get("Nats-Msg-Id") for one in outputs}),
            "acked": published - waiting - dead,
            "dead": dead,
            "pending": max(waiting, consumer["num_pending"] + consumer["num_ack_pending"]),
        }

    def removes_acked(self):
        return self.nats.stream_info(self.names.requests)["config"]["retention"] == "workqueue"

    def problems(self, published, dead=0):
        """What is not as it has to be once all is quiet; empty when the books agree. `published` is the caller's own
        count of requests, `dead` how many of them were to be buried."""
        done = published - dead
        counts = self.counts()
        wanted = {"published": published, "documents": done, "distinct outputs": done, "acked": done, "dead": dead,
                  "pending": 0}
        wrong = ["%s: %d, wanted %d" % (name, counts[name], number) for name, number in wanted.items()
                 if counts[name] != number]
        return wrong

    def disagreements(self):
        """Whether document and output of each request say the same."""
        documents = self.documents()
        wrong = []
        for event in self.ready_events():
            pack = event["pack"]
            document = documents.get(event["request_id"])
            if pack is None:
                wrong.append("%s: ready without a pack" % event["request_id"])
            elif document is None:
                wrong.append("%s: ready without a document" % event["request_id"])
            elif field(document, "summary") != pack["summary"]:
                wrong.append("%s: document and output differ" % event["request_id"])
        return wrong


def field(document, name):
    """A document's field, in either of the two spellings of JSON and BSON."""
    parts = name.split("_")
    camel = parts[0] + "".join(part.title() for part in parts[1:])
    return document.get(name, document.get(camel))
