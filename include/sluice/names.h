/* SPDX-License-Identifier: Apache-2.0 */
/* Names of streams, subjects and headers. Configuration overrides the first group. */
#ifndef SLUICE_NAMES_H
#define SLUICE_NAMES_H

#define SLUICE_DEFAULT_STREAM_REQUESTS "ENRICH_REQUESTS"
#define SLUICE_DEFAULT_SUBJECT_REQUEST "context.enrich.request"
#define SLUICE_DEFAULT_STREAM_READY "ENRICH_READY"
#define SLUICE_DEFAULT_SUBJECT_READY "context.enrich.ready"
#define SLUICE_DEFAULT_STREAM_DEAD "ENRICH_DEAD"
#define SLUICE_DEFAULT_SUBJECT_DEAD "context.enrich.dead"
#define SLUICE_DEFAULT_JOURNAL_BUCKET "SLUICE_JOURNAL"

#define SLUICE_HEADER_KEY "Sluice-Key"              /* identity of a replayed message */
/* What SLUICE_HEADER_ORIGIN said of the message that is replayed: the replay has the journaled answers
 * of that one, and does not pay for them again. What that one failed by does not count for it.
 * Without this header it pays again. What names no message is ignored and logged as
 * replay.ignored. */
#define SLUICE_HEADER_REPLAY_OF "Sluice-Replay-Of"
#define SLUICE_HEADER_PROTO "Sluice-Proto"          /* protobuf type of the body */
#define SLUICE_TYPE_PROTOBUF "application/x-protobuf" /* Content-Type; any that is not JSON is read so */
#define SLUICE_HEADER_CORRELATION "X-Correlation-ID"
#define SLUICE_HEADER_DEAD_REASON "Sluice-Dead-Reason"
#define SLUICE_HEADER_DEAD_STEP "Sluice-Dead-Step"
#define SLUICE_HEADER_DEAD_ERROR "Sluice-Dead-Error"
#define SLUICE_HEADER_DEAD_FAILURES "Sluice-Dead-Failures"
#define SLUICE_HEADER_DEAD_DELIVERIES "Sluice-Dead-Deliveries"
/* How many headers of the message the letter lacks, because NATS refuses to carry them (a blank in
 * the name, a line break in the value). Absent when there are none. */
#define SLUICE_HEADER_DEAD_DROPPED "Sluice-Dead-Headers-Dropped"
#define SLUICE_HEADER_ORIGIN_SUBJECT "Sluice-Origin-Subject"
#define SLUICE_HEADER_ORIGIN "Sluice-Origin"        /* stream:sequence:stored time */

#endif
