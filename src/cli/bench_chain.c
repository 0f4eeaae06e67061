/* SPDX-License-Identifier: Apache-2.0 */
/* The least a message can wait: its round trips one after the other, straight on cnats and SQLite,
 * without an LLM and with nothing around them. Consume; journal and its PubAck; a commit of all
 * that wait for one; output and its PubAck; ACK and its answer. */
#include "cli/bench.h"

#include "sluice/names.h"
#include <nats/nats.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PULL_BATCH   256
#define SUBJECT_SIZE 96
#define ANSWER_SIZE  800

struct chain {
    natsConnection *conn;
    char inbox[SUBJECT_SIZE];
    natsMsg *held[BENCH_MESSAGES_MAX]; /* until the ACK has been sent */
    uint32_t received;                 /* delivery thread */
    sqlite3 *db;                       /* NULL: no document is stored */
    sqlite3_stmt *put;
    pthread_mutex_t lock;
    pthread_cond_t more;
    uint32_t waiting[BENCH_MESSAGES_MAX], waiting_count; /* for the commit */
};

static natsStatus pull(struct chain *c, int batch)
{
    char next[160];
    char inbox[SUBJECT_SIZE + 8];
    char body[64];
    (void)snprintf(next, sizeof next, "$JS.API.CONSUMER.MSG.NEXT.%s.%s",
                   SLUICE_DEFAULT_STREAM_REQUESTS, BENCH_CONSUMER);
    (void)snprintf(inbox, sizeof inbox, "%s.pull", c->inbox);
    (void)snprintf(body, sizeof body, "{\"batch\":%d,\"expires\":60000000000}", batch);
    return natsConnection_PublishRequestString(c->conn, next, inbox, body);
}

static uint32_t number_behind(const char *text, int mark)
{
    const char *at = text == NULL ? NULL : strrchr(text, mark);
    unsigned long n = at == NULL ? BENCH_MESSAGES_MAX : strtoul(at + 1, NULL, 10);
    return n < BENCH_MESSAGES_MAX ? (uint32_t)n : BENCH_MESSAGES_MAX;
}

/* Without them the message never ends, and the bench says that outputs are missing. */
static void output(struct chain *c, uint32_t i)
{
    char id[64];
    char reply[SUBJECT_SIZE + 32];
    natsMsg *msg = NULL;
    (void)snprintf(id, sizeof id, "raw:b%08u:ready:1", i);
    (void)snprintf(reply, sizeof reply, "%s.output.%u", c->inbox, i);
    natsStatus s = natsMsg_Create(&msg, SLUICE_DEFAULT_SUBJECT_READY, reply,
                                  natsMsg_GetData(c->held[i]), natsMsg_GetDataLength(c->held[i]));
    s = s == NATS_OK ? natsMsgHeader_Set(msg, "Nats-Msg-Id", id) : s;
    (void)(s == NATS_OK ? natsConnection_PublishMsg(c->conn, msg) : s);
    natsMsg_Destroy(msg);
}

static void on_delivery(natsConnection *conn, natsSubscription *sub, natsMsg *msg, void *ctx)
{
    static const char answer[ANSWER_SIZE];
    struct chain *c = ctx;
    char subject[SUBJECT_SIZE];
    char reply[SUBJECT_SIZE + 32];
    (void)sub;
    const char *mark = strstr(natsMsg_GetData(msg), "#bench-");
    uint32_t i = mark == NULL ? BENCH_MESSAGES_MAX : (uint32_t)strtoul(mark + 7, NULL, 10);
    if (i >= BENCH_MESSAGES_MAX || c->held[i] != NULL) {
        natsMsg_Destroy(msg);
        return;
    }
    c->held[i] = msg;
    if (++c->received % (PULL_BATCH / 2) == 0) {
        (void)pull(c, PULL_BATCH / 2);
    }
    (void)snprintf(subject, sizeof subject, "$KV.%s.raw.b%08u", SLUICE_DEFAULT_JOURNAL_BUCKET, i);
    (void)snprintf(reply, sizeof reply, "%s.journal.%u", c->inbox, i);
    (void)natsConnection_PublishRequest(conn, subject, reply, answer, (int)sizeof answer);
}

static void on_answer(natsConnection *conn, natsSubscription *sub, natsMsg *msg, void *ctx)
{
    struct chain *c = ctx;
    const char *step = natsMsg_GetSubject(msg) + strlen(c->inbox) + 1;
    uint32_t i = number_behind(step, '.');
    (void)sub;
    if (i < BENCH_MESSAGES_MAX && c->held[i] != NULL) {
        if (step[0] == 'o') {
            char reply[SUBJECT_SIZE + 8];
            (void)snprintf(reply, sizeof reply, "%s.acked", c->inbox);
            (void)natsConnection_PublishRequestString(conn, natsMsg_GetReply(c->held[i]), reply,
                                                      "+ACK");
            natsMsg_Destroy(c->held[i]);
            c->held[i] = NULL;
        } else if (c->db == NULL) {
            output(c, i);
        } else {
            (void)pthread_mutex_lock(&c->lock);
            c->waiting[c->waiting_count++] = i;
            (void)pthread_cond_signal(&c->more);
            (void)pthread_mutex_unlock(&c->lock);
        }
    }
    natsMsg_Destroy(msg);
}

static int put(struct chain *c, uint32_t i)
{
    (void)sqlite3_bind_int64(c->put, 1, i);
    (void)sqlite3_bind_blob(c->put, 2, natsMsg_GetData(c->held[i]),
                            natsMsg_GetDataLength(c->held[i]), SQLITE_STATIC);
    int code = sqlite3_step(c->put);
    (void)sqlite3_reset(c->put);
    return code == SQLITE_DONE ? 0 : 1;
}

/* All that wait, in one transaction, again and again. */
static int commit_for_ever(struct chain *c)
{
    static uint32_t batch[BENCH_MESSAGES_MAX];
    int code = 0;
    while (code == 0) {
        (void)pthread_mutex_lock(&c->lock);
        while (c->waiting_count == 0) {
            (void)pthread_cond_wait(&c->more, &c->lock);
        }
        uint32_t count = c->waiting_count;
        memcpy(batch, c->waiting, count * sizeof batch[0]);
        c->waiting_count = 0;
        (void)pthread_mutex_unlock(&c->lock);
        code = sqlite3_exec(c->db, "BEGIN IMMEDIATE", NULL, NULL, NULL) != SQLITE_OK;
        for (uint32_t n = 0; n < count && code == 0; n++) {
            code = put(c, batch[n]);
        }
        code = code != 0 || sqlite3_exec(c->db, "COMMIT", NULL, NULL, NULL) != SQLITE_OK;
        for (uint32_t n = 0; n < count && code == 0; n++) {
            output(c, batch[n]);
        }
    }
    return code;
}

/* As the worker's own store is opened (adapter/sqlite_db.c). */
static int db_open(struct chain *c, const char *path)
{
    static const char setup[] = "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
                                "PRAGMA wal_autocheckpoint=1000;"
                                "CREATE TABLE IF NOT EXISTS raw(id INTEGER PRIMARY KEY, doc BLOB);"
                                "DELETE FROM raw";
    return sqlite3_open(path, &c->db) == SQLITE_OK &&
                   sqlite3_exec(c->db, setup, NULL, NULL, NULL) == SQLITE_OK &&
                   sqlite3_prepare_v2(c->db, "INSERT OR REPLACE INTO raw VALUES(?, ?)", -1, &c->put,
                                      NULL) == SQLITE_OK
               ? 0
               : 1;
}

static natsStatus listen_to(struct chain *c, const char *rest, natsMsgHandler handler)
{
    char subject[SUBJECT_SIZE + 16];
    natsSubscription *sub = NULL;
    (void)snprintf(subject, sizeof subject, "%s.%s", c->inbox, rest);
    natsStatus s = natsConnection_Subscribe(&sub, c->conn, subject, handler, c);
    return s == NATS_OK ? natsSubscription_SetPendingLimits(sub, -1, -1) : s;
}

int bench_raw_chain(struct bench_shared *shared, const char *url, const char *database)
{
    static struct chain c = {.lock = PTHREAD_MUTEX_INITIALIZER, .more = PTHREAD_COND_INITIALIZER};
    natsOptions *o = NULL;
    if (database != NULL && db_open(&c, database) != 0) {
        fprintf(stderr, "sluice bench: %s: %s\n", database, sqlite3_errmsg(c.db));
        return 1;
    }
    (void)snprintf(c.inbox, sizeof c.inbox, "_INBOX.bench.chain.%ld", (long)getpid());
    natsStatus s = natsOptions_Create(&o);
    s = s == NATS_OK ? natsOptions_SetURL(o, url) : s;
    s = s == NATS_OK ? natsOptions_SetSendAsap(o, true) : s; /* nothing waits for the flusher */
    s = s == NATS_OK ? natsConnection_Connect(&c.conn, o) : s;
    s = s == NATS_OK ? listen_to(&c, "pull", on_delivery) : s;
    s = s == NATS_OK ? listen_to(&c, "journal.*", on_answer) : s;
    s = s == NATS_OK ? listen_to(&c, "output.*", on_answer) : s;
    s = s == NATS_OK ? pull(&c, PULL_BATCH) : s;
    s = s == NATS_OK ? natsConnection_Flush(c.conn) : s;
    natsOptions_Destroy(o);
    if (s != NATS_OK) {
        fprintf(stderr, "sluice bench: raw round trips: %s\n", natsStatus_GetText(s));
        return 1;
    }
    atomic_store(&shared->raw_count, 1); /* the load may begin */
    if (c.db != NULL) {
        return commit_for_ever(&c);
    }
    for (;;) {
        (void)pause();
    }
}
