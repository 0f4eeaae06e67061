/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Plays conformance scripts on the simulator's model of JetStream, the journal's bucket and the
 * output stream, and prints what they answer.
 *
 *     model COURSES < steps            every course of the script, by the luck of the draws
 *     model --status CODE TEXT         what the product takes a status of a real server for
 *
 * Odd courses have a server as 2.9, even ones as 2.12.
 *
 * A step is a line "NUMBER AWAITED verb words…", as model.py writes them; times are milliseconds.
 * An answer is a line "NUMBER PASSED reply|later text", PASSED counted from the step's begin; each
 * course begins with "course N".
 */
#include "adapter/nats_status.h"
#include "sim/sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STEPS_MAX     256u
#define LINE_SIZE     2048u
#define TEXT_SIZE     128u
#define PULLS_MAX     128u
#define NAME_SIZE     24u
#define SUBJECTS_SIZE 100u     /* the server counts them with a message */
#define ANSWER_MS     10000    /* an answer that is awaited comes within this */
#define PULL_OVER     1000000u /* AWAITED of a step that waits for the end of its pull */
#define KEY_ANSWERS   1u       /* the message whose answers it journals */
#define KEY_OUTPUT    1u       /* the message whose outputs the script publishes */
#define UNREAD_MAX    16u

static const char *const status_names[] = {
    [SLUICE_PULL_ALIVE] = "alive", [SLUICE_PULL_ENDED] = "ended",     [SLUICE_PULL_MOVED] = "moved",
    [SLUICE_PULL_GONE] = "gone",   [SLUICE_PULL_UNKNOWN] = "unknown",
};

struct step {
    unsigned line, awaited;
    char verb[NAME_SIZE];
    char words[LINE_SIZE]; /* the rest, with a blank before and after each word */
};

struct play {
    struct sim_world *w;
    const struct step *step;
    int64_t began_ms;
    unsigned heard, replies, is_pull_over;
    char pulls[PULLS_MAX][NAME_SIZE]; /* by id */
    uint32_t pulls_count;
    uint8_t client; /* 0, which may be frozen; then 1 */
    uint8_t is_frozen;
    struct sim_item unread[UNREAD_MAX];
    uint32_t unread_count;
};

static struct sim_process *client_of(struct play *p)
{
    return &p->w->processes[p->client];
}

static void answer(struct play *p, int is_reply, const char *text)
{
    printf("%u %lld %s %s\n", p->step->line, (long long)(p->w->now_ms - p->began_ms),
           is_reply ? "reply" : "later", text);
    p->heard++;
    p->replies += is_reply ? 1u : 0u;
}

/* ---- Words of a step */

static const char *word_after(const struct step *step, const char *key)
{
    const char *at = strstr(step->words, key);
    return at == NULL ? NULL : at + strlen(key);
}

/* The number of " key=", or `missing`. */
static long number(const struct step *step, const char *key, long missing)
{
    const char *at = word_after(step, key);
    return at == NULL ? missing : strtol(at, NULL, 10);
}

/* A name as a number that is not 0: ids of outputs, keys, values. */
static uint64_t hash_of(const char *text, size_t len)
{
    uint64_t hash = 1469598103934665603u;
    for (size_t i = 0; i < len; i++) {
        hash = (hash ^ (unsigned char)text[i]) * 1099511628211u;
    }
    return hash | 1u;
}

/* ---- What arrives */

static int is_read_later(const struct play *p, const struct sim_item *item)
{
    return p->is_frozen && item->worker == 0 && p->unread_count < UNREAD_MAX &&
           (item->kind == SIM_K_TO_CLIENT_MESSAGE || item->kind == SIM_K_TO_CLIENT_STATUS);
}

static void on_arrival(struct play *p, const struct sim_item *item)
{
    char text[TEXT_SIZE];
    if (is_read_later(p, item)) {
        p->unread[p->unread_count++] = *item;
        return;
    }
    switch ((enum sim_kind)item->kind) {
    case SIM_K_TO_CLIENT_MESSAGE:
        snprintf(text, sizeof text, "%s: message %u delivery %lld", p->pulls[item->b],
                 (unsigned)item->a, (long long)item->c);
        answer(p, 0, text);
        break;
    case SIM_K_TO_CLIENT_STATUS:
        snprintf(text, sizeof text, "%s: %s", p->pulls[item->b], status_names[item->a]);
        p->is_pull_over |= item->a == SLUICE_PULL_ENDED;
        answer(p, 0, text);
        break;
    case SIM_K_TO_CLIENT_SETTLED:
        answer(p, 1, "settled");
        break;
    case SIM_K_TO_CLIENT_NOBODY:
        answer(p, 1, "nobody there");
        break;
    case SIM_K_ACK_TIMER:
        sim_jetstream_on_ack_timer(p->w, item);
        break;
    case SIM_K_PULL_TIMER:
        sim_jetstream_on_pull_timer(p->w, item);
        break;
    default:
        break;
    }
}

static int is_enough(const struct play *p)
{
    if (p->step->awaited == PULL_OVER) {
        return p->is_pull_over;
    }
    return p->heard >= p->step->awaited && strcmp(p->step->verb, "silence") != 0;
}

/* Let time pass until what the step awaits is there, or `until_ms`. */
static void wait_for(struct play *p, int64_t until_ms)
{
    struct sim_world *w = p->w;
    while (sim_queue_next_ms(&w->queue) <= until_ms) {
        if (is_enough(p) && sim_queue_next_ms(&w->queue) > w->now_ms) {
            return;
        }
        struct sim_item item;
        sim_queue_pop(&w->queue, &item);
        w->now_ms = item.at_ms;
        on_arrival(p, &item);
    }
    if (!is_enough(p)) {
        w->now_ms = until_ms;
    }
}

/* ---- Verbs */

static void set_up(struct play *p, uint64_t luck)
{
    struct sim_world *w = p->w;
    sim_plan_draw(&w->plan, 1, SIM_PROFILE_CALM);
    w->plan.is_work_queue = word_after(p->step, " retention=limits ") == NULL;
    w->plan.engine.ack_wait_ms = number(p->step, " ack_wait=", 30000);
    w->plan.ack_pending_max = (uint32_t)number(p->step, " max_ack_pending=", 1000);
    w->plan.duplicate_window_ms = number(p->step, " duplicate_window=", 600000);
    w->plan.is_server_recent = luck % 2 == 0;
    w->plan.bad_answers = 0;
    w->plan.workers_count = 2;
    w->plan.link_ms = 0;
    w->plan.ping_ms = INT32_MAX;
    w->rng = (struct sluice_prng){luck};
    w->now_ms = 0;
    w->inputs_count = 200;
    sim_queue_clear(&w->queue);
    sim_jetstream_init(w);
    sim_kv_init(w);
    sim_sink_init(w);
    sim_judge_init(w);
    p->client = p->is_frozen = 0;
    p->unread_count = 0;
    for (uint8_t i = 0; i < w->plan.workers_count; i++) {
        sim_process_init(w, i);
        (void)sim_link_connect(w, &w->processes[i]);
    }
    for (uint32_t i = 1; i <= w->inputs_count; i++) {
        w->inputs[i] = (struct sim_input){.size = 100, .key = i};
        w->sink.sunk[i].dead_copies = 1; /* so that no judge minds a TERM or ACK here */
    }
    w->inputs[KEY_OUTPUT].scripts[0].is_made = w->inputs[KEY_OUTPUT].scripts[1].is_made = 1;
}

static void publish(struct play *p)
{
    for (long i = number(p->step, " times=", 1); i > 0; i--) {
        char text[TEXT_SIZE];
        uint32_t sequence = p->w->js.highest + 1;
        p->w->inputs[sequence].size = SUBJECTS_SIZE + (uint32_t)number(p->step, " size=", 1);
        snprintf(text, sizeof text, "stored %u", (unsigned)sequence);
        answer(p, 1, text);
        sim_jetstream_publish(p->w, sequence);
    }
}

static int output_once(struct play *p, uint64_t id)
{
    struct sim_sunk *sunk = &p->w->sink.sunk[KEY_OUTPUT];
    struct sim_write write = {.target = SIM_TARGET_PUBLISH, .key = KEY_OUTPUT, .value = id};
    uint64_t value = 0;
    uint32_t before = 0, after = 0;
    for (uint32_t i = 0; i < sunk->outputs_count; i++) {
        before += sunk->outputs[i].copies;
    }
    (void)sim_sink_write(p->w, &write, &value);
    for (uint32_t i = 0; i < sunk->outputs_count; i++) {
        after += sunk->outputs[i].copies;
    }
    return after > before;
}

static void output(struct play *p)
{
    const char *name = word_after(p->step, " id=");
    struct sim_script *s = &p->w->inputs[KEY_OUTPUT].scripts[0];
    if (name == NULL) {
        return;
    }
    s->outputs[0] = hash_of(name, strcspn(name, " "));
    s->outputs_count = 1;
    int is_stored = output_once(p, s->outputs[0]);
    while (!is_stored && word_after(p->step, " until=stored ") != NULL &&
           p->w->now_ms < p->began_ms + ANSWER_MS) {
        p->w->now_ms += 10;
        is_stored = output_once(p, s->outputs[0]);
    }
    answer(p, 1, is_stored ? "stored" : "duplicate");
}

static void pull_once(struct play *p, const char *name)
{
    uint32_t id = ++p->pulls_count;
    struct sim_process *process = client_of(p);
    uint32_t max_bytes = (uint32_t)number(p->step, " max_bytes=", 0);
    long exactly = number(p->step, " max_bytes=exactly:", -1);
    if (exactly >= 0) {
        max_bytes = SUBJECTS_SIZE + (uint32_t)exactly;
    }
    snprintf(p->pulls[id], NAME_SIZE, "%s", name);
    process->inboxes[id % SIM_INBOXES_MAX] =
        (struct sim_inbox){.pull = {.pull = id,
                                    .batch = (uint32_t)number(p->step, " batch=", 1),
                                    .max_bytes = max_bytes,
                                    .expires_ms = (int32_t)number(p->step, " expires=", 30000),
                                    .heartbeat_ms = (int32_t)number(p->step, " heartbeat=", 0)}};
    struct sim_item item = {.b = id, .worker = p->client, .life = process->link.epoch};
    sim_jetstream_on_pull(p->w, &item);
}

static void pull(struct play *p)
{
    char name[NAME_SIZE - 4u], numbered[NAME_SIZE];
    if (sscanf(p->step->words, " %19s", name) != 1) {
        return;
    }
    long times = number(p->step, " times=", 0);
    if (times == 0) {
        pull_once(p, name);
    }
    for (long i = 1; i <= times && p->pulls_count + 1 < PULLS_MAX; i++) {
        snprintf(numbered, sizeof numbered, "%s%ld", name, i);
        pull_once(p, numbered);
    }
}

static const char *const verdicts[] = {
    [SLUICE_VERB_ACK] = "ack",
    [SLUICE_VERB_NAK] = "nak",
    [SLUICE_VERB_PROGRESS] = "progress",
    [SLUICE_VERB_TERM] = "term",
};

/* An enum sluice_verb, or more than any of them. */
static size_t verb_of(const struct step *step)
{
    size_t i = 0;
    while (i < sizeof verdicts / sizeof verdicts[0] && strcmp(step->verb, verdicts[i]) != 0) {
        i++;
    }
    return i;
}

static int is_settle(const struct step *step)
{
    return verb_of(step) < sizeof verdicts / sizeof verdicts[0];
}

/* " 3@1 5@2 ": the model's server looks at the sequence alone. */
static void settle(struct play *p)
{
    enum sluice_verb verb = (enum sluice_verb)verb_of(p->step);
    const char *at = p->step->words;
    uint64_t pair[2];
    int used = 0;
    while (sscanf(at, " %lu@%lu%n", &pair[0], &pair[1], &used) == 2) {
        struct sim_item item = {.a = (uint32_t)verb,
                                .b = (uint32_t)pair[0],
                                .c = number(p->step, " delay=", 0),
                                .worker = p->client,
                                .life = client_of(p)->link.epoch};
        sim_jetstream_on_settle(p->w, &item);
        at += used;
    }
}

static void look(struct play *p)
{
    const struct sim_jetstream *js = &p->w->js;
    unsigned fresh = 0;
    char text[TEXT_SIZE];
    for (uint32_t i = 1; i <= js->highest; i++) {
        fresh += js->stored[i].state == SIM_STORED_NEW;
    }
    unsigned stored = sim_jetstream_count(p->w);
    if (js->consumer_exists) {
        snprintf(text, sizeof text, "new %u, held %u, stored %u", fresh,
                 (unsigned)js->pending_count, stored);
    } else {
        snprintf(text, sizeof text, "no consumer, stored %u", stored);
    }
    answer(p, 1, text);
}

/* " KEY VALUE ": keys are answers of one message. */
static void keep(struct play *p)
{
    char text[TEXT_SIZE];
    unsigned long key = 0, value = 0;
    uint64_t existing = 0;
    (void)sscanf(p->step->words, " %lu %lu", &key, &value);
    struct sluice_journaled id = {.hash = {key, key}};
    if (sim_kv_keep(p->w, KEY_ANSWERS, &id, value, &existing)) {
        answer(p, 1, "kept");
        return;
    }
    snprintf(text, sizeof text, "not kept, %llu is there", (unsigned long long)existing);
    answer(p, 1, text);
}

static void record(struct play *p)
{
    unsigned long key = 0, value = 0;
    (void)sscanf(p->step->words, " %lu %lu", &key, &value);
    struct sluice_record content = {.failures = (uint32_t)value};
    sim_kv_record(p->w, (uint32_t)key, &content, p->step->line, 1);
    answer(p, 1, "recorded");
}

static void read_key(struct play *p)
{
    char text[TEXT_SIZE] = "nothing";
    unsigned long key = 0;
    (void)sscanf(p->step->words, " %lu", &key);
    const struct sim_kv_entry *answers = &p->w->kv.entries[KEY_ANSWERS];
    uint64_t value = p->w->kv.entries[key].record.failures;
    for (uint32_t i = 0; i < answers->answers_count; i++) {
        if (answers->answers[i].id.hash.low == key) {
            value = answers->answers[i].value;
        }
    }
    if (value != 0) {
        snprintf(text, sizeof text, "%llu", (unsigned long long)value);
    }
    answer(p, 1, text);
}

static void age(struct play *p)
{
    sim_kv_age(p->w);
}

static void drop(struct play *p)
{
    answer(p, 1, "deleted");
    sim_jetstream_delete_consumer(p->w);
}

static void create(struct play *p)
{
    answer(p, 1, "created");
    sim_jetstream_create_consumer(p->w);
}

static void purge(struct play *p)
{
    char text[TEXT_SIZE];
    snprintf(text, sizeof text, "purged %u", (unsigned)sim_jetstream_count(p->w));
    answer(p, 1, text);
    sim_jetstream_purge(p->w);
}

static void step_down(struct play *p)
{
    answer(p, 1, "moved");
    sim_jetstream_leader_change(p->w, (uint8_t)sim_below(&p->w->rng, 256));
}

static void disconnect(struct play *p)
{
    struct sim_process *process = client_of(p);
    sim_jetstream_forget_client(p->w, p->client, process->link.epoch);
    process->link.is_up = 0;
    (void)sim_link_connect(p->w, process);
}

/* Steps that follow are another client's. */
static void freeze(struct play *p)
{
    p->is_frozen = 1;
    p->client = 1;
}

static void thaw(struct play *p)
{
    p->is_frozen = 0;
    for (uint32_t i = 0; i < p->unread_count; i++) {
        on_arrival(p, &p->unread[i]);
    }
    p->unread_count = 0;
}

static void kill_server(struct play *p)
{
    sim_jetstream_kill(p->w, (uint8_t)sim_below(&p->w->rng, 256));
    client_of(p)->link.is_up = 0;
}

static void start_server(struct play *p)
{
    sim_jetstream_up(p->w);
    (void)sim_link_connect(p->w, client_of(p));
}

static const struct {
    const char *name;
    void (*perform)(struct play *p);
} verbs[] = {
    {"publish", publish},  {"output", output},      {"pull", pull},
    {"ack", settle},       {"nak", settle},         {"progress", settle},
    {"term", settle},      {"look", look},          {"keep", keep},
    {"record", record},    {"read", read_key},      {"age", age},
    {"delete", drop},      {"create", create},      {"disconnect", disconnect},
    {"kill", kill_server}, {"start", start_server}, {"stepdown", step_down},
    {"freeze", freeze},    {"thaw", thaw},          {"hear", NULL},
    {"silence", NULL},     {"purge", purge},
};

static void perform(struct play *p)
{
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++) {
        if (strcmp(p->step->verb, verbs[i].name) == 0) {
            if (verbs[i].perform != NULL) {
                verbs[i].perform(p);
            }
            return;
        }
    }
    fprintf(stderr, "unknown verb: %s\n", p->step->verb);
    exit(2);
}

/* ---- A whole script */

static unsigned read_steps(struct step *steps)
{
    static char line[LINE_SIZE], rest[LINE_SIZE - 2u];
    unsigned count = 0;
    while (count < STEPS_MAX && fgets(line, sizeof line, stdin) != NULL) {
        struct step *step = &steps[count];
        rest[0] = '\0';
        if (sscanf(line, "%u %u %23s %2045[^\n]", &step->line, &step->awaited, step->verb, rest) <
            3) {
            fprintf(stderr, "not a step: %s", line);
            exit(2);
        }
        snprintf(step->words, sizeof step->words, " %s ", rest);
        count++;
    }
    return count;
}

static void play_course(struct play *p, const struct step *steps, unsigned count, uint64_t luck)
{
    printf("course %llu\n", (unsigned long long)luck);
    p->pulls_count = 0;
    for (unsigned i = 0; i < count; i++) {
        p->step = &steps[i];
        p->heard = p->replies = p->is_pull_over = 0;
        if (strcmp(p->step->verb, "setup") == 0) {
            set_up(p, luck);
            continue;
        }
        p->began_ms = p->w->now_ms;
        perform(p);
        wait_for(p, p->began_ms + number(p->step, " for=", ANSWER_MS));
        if (p->replies == 0 && is_settle(p->step)) {
            answer(p, 1, "no answer");
        }
    }
}

int main(int argc, char **argv)
{
    static struct step steps[STEPS_MAX];
    static struct play play;
    if (argc == 4 && strcmp(argv[1], "--status") == 0) {
        puts(status_names[sluice_nats_status_of(atoi(argv[2]), argv[3])]);
        return 0;
    }
    unsigned long courses = argc == 2 ? strtoul(argv[1], NULL, 10) : 0;
    play.w = courses == 0 ? NULL : sim_world_create();
    if (play.w == NULL) {
        fprintf(stderr, "usage: model COURSES < steps | model --status CODE TEXT\n");
        return 2;
    }
    unsigned count = read_steps(steps);
    for (unsigned long luck = 1; luck <= courses; luck++) {
        play_course(&play, steps, count, luck);
    }
    sim_world_destroy(play.w);
    return 0;
}
