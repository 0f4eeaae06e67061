/* SPDX-License-Identifier: Apache-2.0 */
/* What a source sends and is answered on its inbox: verdicts, echoes of its own, and whether its
 * consumer exists. For nats_source.c alone. */
#ifndef SLUICE_ADAPTER_NATS_ANSWERS_H
#define SLUICE_ADAPTER_NATS_ANSWERS_H

#include "adapter/nats_intake.h"
#include "adapter/nats_silence.h"

#define SLUICE_NATS_MADE_SIZE 48u

struct sluice_nats_answers {
    struct sluice_nats_intake *intake;
    int64_t check_until_ms;             /* 0: no check is open */
    struct sluice_nats_silence silence; /* of the server, as far as +ACK and +TERM tell */
    int64_t recognised_ms;              /* when it was asked for last */
    char made[SLUICE_NATS_MADE_SIZE];   /* when the stream was, in its words; "": not known */
    int is_unconfirmed; /* for `sluice bench` alone: settles count as answered when sent */
};

/* All: loop thread. */

/* Listen for answers on a new connection; 0 when it cannot. */
int sluice_nats_answers_listen(struct sluice_nats_answers *answers, struct sluice_nats_wire *wire);

/* See port/source.h. */
void sluice_nats_answers_settle(struct sluice_nats_answers *answers, uint64_t op, const char *reply,
                                enum sluice_verb verb, int64_t delay_ms);
void sluice_nats_answers_check(struct sluice_nats_answers *answers);

/* Listen for the server's word that the consumer or its stream was deleted, as far as the account
 * may: somebody may have made both again before a pull could tell of it, when none is parked. */
void sluice_nats_answers_listen_for_deletion(struct sluice_nats_answers *answers,
                                             struct sluice_nats_wire *wire);
#define SLUICE_NATS_ADVISORY "$JS.EVENT.ADVISORY" /* what is denied there is not needed */

/* Ask whether the consumer's stream is the one that it was; on_consumer tells if it is not. */
void sluice_nats_answers_recognise(struct sluice_nats_answers *answers, int64_t now_ms);

/* Somebody suspects the server of having lost its cluster: leave it if the consumer's leader says
 * so itself. Nobody is told. */
void sluice_nats_answers_doubt(struct sluice_nats_answers *answers);

/* Send a message to ourselves: it brings the horizon forward when it comes back. */
void sluice_nats_answers_echo(struct sluice_nats_answers *answers);

/* Nobody knows whether the consumer exists: a check that is open ends so when its time is over, or
 * when the connection is gone. A server that does not know it, or that confirms no verdict for some
 * seconds, is left for another one: cut off from its cluster it goes on answering pings and, while
 * it takes itself for the leader, beats for our pulls. */
void sluice_nats_answers_tick(struct sluice_nats_answers *answers, int64_t now_ms);
void sluice_nats_answers_down(struct sluice_nats_answers *answers);

#endif
