/* SPDX-License-Identifier: Apache-2.0 */
#include "adapter/nats_intake.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ALIVE_STEP_MS 200 /* signs of life are passed on at most this often */

void sluice_nats_intake_alive(struct sluice_nats_intake *intake, int64_t read_ms)
{
    if (read_ms - intake->alive_ms >= ALIVE_STEP_MS) {
        intake->alive_ms = read_ms;
        intake->events.on_alive(intake->ctx, read_ms);
    }
}

static void deliver_note(struct sluice_mail *mail)
{
    struct sluice_nats_note *note = (struct sluice_nats_note *)mail;
    if (!note->intake->is_closed) {
        if (note->read_ms != 0) {
            sluice_nats_intake_alive(note->intake, note->read_ms);
        }
        note->tell(note);
    }
    free(note);
}

void *sluice_nats_note_create(struct sluice_nats_intake *intake, sluice_nats_note_fn *tell,
                              size_t size)
{
    struct sluice_nats_note *note = calloc(1, size);
    if (note != NULL) {
        note->mail.deliver = deliver_note;
        note->intake = intake;
        note->tell = tell;
    }
    return note;
}

void sluice_nats_note_post(struct sluice_nats_note *note)
{
    sluice_nats_box_post(note->intake->box, &note->mail);
}

struct sluice_nats_wire *sluice_nats_wire_create(const struct sluice_nats_link *link)
{
    struct sluice_nats_wire *wire = calloc(1, sizeof *wire);
    if (wire == NULL) {
        return NULL;
    }
    wire->horizon_ms = sluice_nats_link_up_since_ms(link);
    atomic_init(&wire->refs, 1);
    (void)snprintf(wire->inbox, sizeof wire->inbox, "%s", sluice_nats_link_inbox(link));
    wire->inbox_len = strlen(wire->inbox);
    return wire;
}

void sluice_nats_wire_ref(struct sluice_nats_wire *wire)
{
    atomic_fetch_add(&wire->refs, 1);
}

void sluice_nats_wire_unref(struct sluice_nats_wire *wire)
{
    if (atomic_fetch_sub(&wire->refs, 1) == 1) {
        free(wire);
    }
}

const char *sluice_nats_wire_rest(const struct sluice_nats_wire *wire, const char *subject)
{
    return strncmp(subject, wire->inbox, wire->inbox_len) == 0 ? subject + wire->inbox_len : NULL;
}

int sluice_nats_wire_number(const char **rest, uint64_t *out)
{
    char *end;
    if (**rest != '.') {
        return 0;
    }
    *out = strtoull(*rest + 1, &end, 16);
    int is_read = end > *rest + 1;
    *rest = end;
    return is_read;
}
