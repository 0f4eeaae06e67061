/* SPDX-License-Identifier: Apache-2.0 */
/* The least a message can wait: its call and its round trips one after the other, straight on
 * cnats, libcurl and SQLite, with nothing around them. Consume; the LLM; journal and its PubAck; a
 * commit of all that wait for one; output and its PubAck; ACK and its answer. */
#include "cli/bench.h"

#include "sluice/names.h"
#include <curl/curl.h>
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
#define BODY_SIZE    1200

/* A connection's handle, used again and again. */
struct chain_call {
    CURL *easy;
    struct chain_call *next; /* idle */
    uint32_t message;
    char body[BODY_SIZE];
};

struct chain {
    natsConnection *conn;
    char inbox[SUBJECT_SIZE];
    natsMsg *held[BENCH_MESSAGES_MAX]; /* until the ACK has been sent */
    uint32_t received;                 /* delivery thread */
    sqlite3 *db;                       /* NULL: no document is stored */
    sqlite3_stmt *put;
    CURLM *llm;
    char llm_url[160];
    struct curl_slist *headers;
    struct chain_call *idle; /* its thread alone */
    pthread_mutex_t lock;
    pthread_cond_t more;
    uint32_t asking[BENCH_MESSAGES_MAX], asking_count;   /* for the LLM */
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
    struct chain *c = ctx;
    (void)conn;
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
    (void)pthread_mutex_lock(&c->lock);
    c->asking[c->asking_count++] = i;
    (void)pthread_mutex_unlock(&c->lock);
    (void)curl_multi_wakeup(c->llm);
}

/* ---- The LLM: a thread with one multi handle */

static void journal(struct chain *c, uint32_t i)
{
    static const char answer[ANSWER_SIZE];
    char subject[SUBJECT_SIZE];
    char reply[SUBJECT_SIZE + 32];
    (void)snprintf(subject, sizeof subject, "$KV.%s.raw.b%08u", SLUICE_DEFAULT_JOURNAL_BUCKET, i);
    (void)snprintf(reply, sizeof reply, "%s.journal.%u", c->inbox, i);
    (void)natsConnection_PublishRequest(c->conn, subject, reply, answer, (int)sizeof answer);
}

static struct chain_call *call_make(struct chain *c)
{
    struct chain_call *call = calloc(1, sizeof *call);
    if (call == NULL) {
        return NULL;
    }
    memset(call->body, 'x', sizeof call->body);
    call->easy = bench_easy_make(c->llm_url, c->headers, call->body, sizeof call->body);
    if (call->easy == NULL) {
        free(call);
        return NULL;
    }
    (void)curl_easy_setopt(call->easy, CURLOPT_PRIVATE, call);
    return call;
}

static int ask(struct chain *c, uint32_t i)
{
    struct chain_call *call = c->idle;
    if (call != NULL) {
        c->idle = call->next;
    } else if ((call = call_make(c)) == NULL) {
        return 1;
    }
    call->message = i;
    int len = snprintf(call->body, sizeof call->body, "#bench-%u", i);
    call->body[len] = ' ';
    return curl_multi_add_handle(c->llm, call->easy) == CURLM_OK ? 0 : 1;
}

static int take_answers(struct chain *c)
{
    CURLMsg *message;
    int left = 0;
    int code = 0;
    while ((message = curl_multi_info_read(c->llm, &left)) != NULL) {
        struct chain_call *call = NULL;
        code |= message->data.result != CURLE_OK;
        (void)curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &call);
        (void)curl_multi_remove_handle(c->llm, message->easy_handle);
        journal(c, call->message);
        call->next = c->idle;
        c->idle = call;
    }
    return code;
}

/* A call that fails ends it: the messages never end, and the bench says so. */
static void *ask_for_ever(void *ctx)
{
    static uint32_t batch[BENCH_MESSAGES_MAX];
    struct chain *c = ctx;
    int code = 0;
    while (code == 0) {
        int running = 0;
        (void)pthread_mutex_lock(&c->lock);
        uint32_t count = c->asking_count;
        memcpy(batch, c->asking, count * sizeof batch[0]);
        c->asking_count = 0;
        (void)pthread_mutex_unlock(&c->lock);
        for (uint32_t n = 0; n < count && code == 0; n++) {
            code = ask(c, batch[n]);
        }
        code |= curl_multi_perform(c->llm, &running) != CURLM_OK;
        code |= take_answers(c);
        code |= curl_multi_poll(c->llm, NULL, 0, 1000, NULL) != CURLM_OK;
    }
    fprintf(stderr, "sluice bench: raw round trips: a call failed\n");
    return NULL;
}

static int llm_open(struct chain *c, const char *url)
{
    pthread_t thread;
    (void)snprintf(c->llm_url, sizeof c->llm_url, "%s/chat/completions", url);
    c->headers = curl_slist_append(NULL, "Content-Type: application/json");
    c->llm = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK ? curl_multi_init() : NULL;
    return c->headers != NULL && c->llm != NULL &&
                   pthread_create(&thread, NULL, ask_for_ever, c) == 0 &&
                   pthread_detach(thread) == 0
               ? 0
               : 1;
}

/* ---- Behind it */

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

int bench_raw_chain(struct bench_shared *shared, const char *url, const char *llm_url,
                    const char *database)
{
    static struct chain c = {.lock = PTHREAD_MUTEX_INITIALIZER, .more = PTHREAD_COND_INITIALIZER};
    natsOptions *o = NULL;
    if (database != NULL && db_open(&c, database) != 0) {
        fprintf(stderr, "sluice bench: %s: %s\n", database, sqlite3_errmsg(c.db));
        return 1;
    }
    if (llm_open(&c, llm_url) != 0) {
        fprintf(stderr, "sluice bench: raw round trips: no memory for calls\n");
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
