# SPDX-License-Identifier: Apache-2.0
"""What is away when a worker boots: it ends, and says what it lacks, or waits for it."""
import itertools, os
from stage import cases_of, check


class Folder:
    """Of the embedded store; without it there is no file to be made."""

    def __init__(self, stage):
        self.path = os.path.join(stage.dir, "store")
        stage.store.path = os.path.join(self.path, "store.db")

    def heal(self):
        os.makedirs(self.path, exist_ok=True)

    def refuse(self):
        check(not os.path.exists(self.path), "it comes up once")


def said(w, level):
    """Where, and what."""
    return [(e.get("step") or e["event"], e["text"]) for e in w.log_lines() if e["level"] == level]


def whatever_is_away_at_boot_is_named_and_nothing_is_lost(s):
    """Each selection of the three that a worker needs. Without its LLM it runs, and waits for it."""
    s.make_streams()
    s.send(1)
    nats, llm = s.nats_proxy(), s.llm_proxy()
    settings = {**s.through(nats, llm), "LLM_BREAKER_RESET": "0.2"}
    if s.store_kind == "mongodb":
        store = s.mongo_proxy()
        store_name = f"127.0.0.1:{store.port}"
        settings.update(s.through(store=store), MONGODB_TIMEOUT="0.5")
    else:
        store, store_name = Folder(s), s.dir
        settings["SLUICE_SQLITE_PATH"] = s.store.path
    for done, away in enumerate(itertools.product((store, None), (nats, None), (llm, None)), -6):
        for one in (store, nats, llm):
            one.refuse() if one in away else one.heal()
        w = s.start_worker(**settings)
        if store in away or nats in away:  # the store is looked for first
            step, name = ("clients", store_name) if store in away else ("publisher", str(nats.port))
            check(w.wait_exit(30) == 3, f"exit {w.code}, expected 3")
            check([(at, name in text) for at, text in said(w, "error")] == [(step, True)], f"not named: {said(w, 'error')}")
        else:
            s.ready()
        is_told = any(at == "llm.unreachable" for at, _ in said(w, "warn"))
        check(is_told == (llm in away and store not in away), f"told of the LLM: {said(w, 'warn')}")
        if done < 0:
            check(s.left() == 1 and not s.nats.consumer_names(s.names.requests), "something was fetched")
            continue
        llm.heal()
        s.send(done, first=2)
        s.expect_done(done + 1)
        check(w.stop() == 0, f"exit {w.code}, expected 0")
    check(s.nats.count(s.names.dead) == 0, "a dead letter")


CASES = cases_of(globals())
