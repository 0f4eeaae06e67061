/* SPDX-License-Identifier: Apache-2.0 */
/* What the store tests need: a mailbox that is pumped by hand, an allocator that counts and fails
 * on demand, documents in either format, and the two stores behind one switch. */
#ifndef SLUICE_TESTS_ADAPTER_STORE_FIXTURE_H
#define SLUICE_TESTS_ADAPTER_STORE_FIXTURE_H

#include "heap.h"
#include "port/mailbox.h"
#include "port/store.h"
#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>

enum { STORE_WAIT_MS = 60000, STORE_TIMEOUT_MS = 3000 };

struct store_mailbox {
    struct sluice_mailbox base; /* first member */
    pthread_mutex_t mutex;
    pthread_cond_t posted;
    struct sluice_mail *first, *last;
};

void store_mailbox_init(struct store_mailbox *m);
void store_mailbox_fini(struct store_mailbox *m);
/* Deliver what is there; wait up to timeout_ms for something first. How many mails there were. */
uint32_t store_mailbox_pump(struct store_mailbox *m, uint32_t timeout_ms);

/* The MongoDB-protocol server: MONGODB_URI, else mongod of the PATH, else the program that
 * SLUICE_FERRETDB names. */
struct store_server {
    char uri[256];
    char folder[128];
    uint16_t port;
    pid_t pid; /* 0: not ours, or not running */
    int is_ours;
    int is_ferretdb;
};

/* 0: there is none. */
int store_server_begin(struct store_server *server);
void store_server_start(struct store_server *server); /* again, on the same port and data */
void store_server_kill(struct store_server *server);
void store_server_end(struct store_server *server);

struct store_fixture {
    int is_mongo;
    uint32_t
        timeout_ms; /* of MongoDB's operations; 0: STORE_TIMEOUT_MS, for cases that wait for it */
    struct store_mailbox mailbox;
    struct heap heap;
    struct store_server server;
    char folder[128];
    char path[256]; /* of SQLite */
    char database[64];
    struct sluice_store *store;
};

void store_fixture_begin(struct store_fixture *f, int is_mongo);
void store_fixture_end(struct store_fixture *f); /* everything was freed, or the test fails */
/* A fresh, empty place for documents. */
void store_fixture_fresh(struct store_fixture *f);
sluice_rc store_fixture_open(struct store_fixture *f, struct sluice_err *err);
void store_fixture_close(struct store_fixture *f);

/* A case of cmocka with a fresh place for documents, open; in the end everything was given back. */
int store_fixture_setup(void **state);    /* *state: store_fixture */
int store_fixture_teardown(void **state); /* the same */
#define STORE_CASE(name, fixture)                                                                  \
    cmocka_unit_test_prestate_setup_teardown(name, store_fixture_setup, store_fixture_teardown,    \
                                             fixture)

/* The end of one operation. */
struct store_result {
    uint32_t calls;
    enum sluice_fate fate;
    sluice_rc rc;
    uint32_t failed_doc;
    char text[SLUICE_ERR_TEXT_SIZE];
    char found_id[2048], found_text[256]; /* members _id and text of what was found */
    size_t found_len;
    uint32_t order; /* among all results, from 1 */
};

void store_result_done(void *ctx, const struct sluice_store_done *done); /* ctx: store_result */

/* {"text": text} in the store's format, in static memory that the next but 999 calls reuse. */
sluice_bytes store_body(const struct store_fixture *f, const char *text);
/* As much, of about `size` bytes; to be freed with free((void *)body.data). */
sluice_bytes store_body_large(const struct store_fixture *f, size_t size);

void store_put(struct store_fixture *f, const struct sluice_doc *docs, uint32_t count,
               struct store_result *result);
void store_put_one(struct store_fixture *f, const char *collection, const char *id,
                   const char *text, struct store_result *result);
/* Wait until all of them have ended; fails with what was awaited. */
void store_wait(struct store_fixture *f, struct store_result *results, uint32_t count);
/* Put, find, ping and wait. */
struct store_result store_put_now(struct store_fixture *f, const char *collection, const char *id,
                                  const char *text);
struct store_result store_find_now(struct store_fixture *f, const char *collection, const char *id);
struct store_result store_ping_now(struct store_fixture *f);

#endif
