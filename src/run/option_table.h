/* SPDX-License-Identifier: Apache-2.0 */
/* THE option table: parser, --help, JSON Schema, reference and example come from it.
 *
 * X(member, section.key of worker.yaml, environment variable, kind, default, minimum, maximum,
 * help) Kinds: SECONDS (int64_t milliseconds), COUNT (int64_t), BYTES (int64_t), NUMBER (double),
 * FLAG (int), TEXT, NAME ([A-Za-z0-9_-]), SUBJECT, PATTERN (with wildcards), URL, PATH, SECRET (all const char *; "" when
 * unset). Minimum and maximum are in the unit that people write. */
#ifndef SLUICE_RUN_OPTION_TABLE_H
#define SLUICE_RUN_OPTION_TABLE_H

#include "sluice/names.h"

/* clang-format off */
#define SLUICE_OPTIONS(X) \
X(nats_url, "nats.url", "NATS_URL", URL, "nats://localhost:4222", 0, 0, "server URLs, comma separated; with a login in them, or in the settings below") \
X(nats_context, "nats.context", "NATS_CONTEXT", TEXT, "", 0, 0, "context of the `nats` command: fills what is not set here") \
X(nats_reconnect_wait_ms, "nats.reconnect_wait", "NATS_RECONNECT_TIME_WAIT", SECONDS, "10", 0.1, 3600, "longest wait between reconnect attempts; before that an eighth of the time that no server is found") \
X(nats_connect_timeout_ms, "nats.connect_timeout", "NATS_CONNECT_TIMEOUT", SECONDS, "10", 0.1, 3600, "time for one connect attempt") \
X(nats_max_reconnects, "nats.max_reconnects", "NATS_MAX_RECONNECT_ATTEMPTS", COUNT, "60", 1, 1000000, "attempts before the connection is given up and the process ends; one after a shorter wait counts for its share") \
X(nats_user, "nats.user", "NATS_USER", TEXT, "", 0, 0, "user name") \
X(nats_password, "nats.password", "NATS_PASSWORD", SECRET, "", 0, 0, "password") \
X(nats_token, "nats.token", "NATS_TOKEN", SECRET, "", 0, 0, "authentication token") \
X(nats_creds, "nats.creds", "NATS_CREDS", PATH, "", 0, 0, "credentials file (JWT and seed)") \
X(nats_nkey, "nats.nkey", "NATS_NKEY", PATH, "", 0, 0, "nkey seed file") \
X(nats_ca, "nats.ca", "NATS_CA", PATH, "", 0, 0, "CA certificates for TLS") \
X(nats_cert, "nats.cert", "NATS_CERT", PATH, "", 0, 0, "client certificate for TLS") \
X(nats_key, "nats.key", "NATS_KEY", PATH, "", 0, 0, "client key for TLS") \
X(readiness_timeout_ms, "probe.readiness_timeout", "SERVICE_READINESS_TIME_OUT", SECONDS, "500", 0.1, 86400, "silence before /readyz answers 503") \
X(probe_host, "probe.host", "SERVICE_READINESS_HOST", TEXT, "0.0.0.0", 0, 0, "address of the probe") \
X(probe_port, "probe.port", "SERVICE_READINESS_PORT", COUNT, "8080", 0, 65535, "port of the probe; 0: any free one") \
X(keepalive_ms, "runtime.keepalive", "SLUICE_KEEPALIVE_INTERVAL", SECONDS, "10", 0.1, 3600, "keep-alive tick") \
X(handler_timeout_ms, "runtime.handler_timeout", "SLUICE_HANDLER_TIMEOUT", SECONDS, "300", 0.1, 86400, "time one attempt may take") \
X(ack_wait_ms, "runtime.ack_wait", "SLUICE_ACK_WAIT", SECONDS, "30", 1, 86400, "JetStream ack wait; renewed while an attempt lives") \
X(nak_delay_ms, "runtime.nak_delay", "SLUICE_NAK_DELAY", SECONDS, "1", 0.001, 3600, "first redelivery delay after a failure") \
X(nak_delay_max_ms, "runtime.nak_delay_max", "SLUICE_NAK_DELAY_MAX", SECONDS, "60", 0.001, 86400, "longest redelivery delay") \
X(retry_after_max_ms, "runtime.retry_after_max", "SLUICE_RETRY_AFTER_MAX", SECONDS, "300", 1, 86400, "longest pause of pulling that a 429 with Retry-After brings") \
X(max_deliver, "runtime.max_deliver", "SLUICE_MAX_DELIVER", COUNT, "20", 0, 1000000, "recorded failures before the dead letter; 0: never") \
X(on_reject, "runtime.on_reject", "SLUICE_ON_REJECT", WORD, "nak", 0, 0, "nak|dead-letter") \
X(max_in_flight, "runtime.max_in_flight", "SLUICE_MAX_IN_FLIGHT", COUNT, "256", 1, 65536, "messages in flight in this process") \
X(max_bytes_in_flight, "runtime.max_bytes_in_flight", "SLUICE_MAX_BYTES_IN_FLIGHT", COUNT, "67108864", 0, 1099511627776, "bytes of messages in flight; 0: unlimited") \
X(journal, "journal.enabled", "SLUICE_JOURNAL", WORD, "on", 0, 0, "on|off") \
X(journal_ttl_ms, "journal.ttl", "SLUICE_JOURNAL_TTL", SECONDS, "86400", 1, 31536000, "how long journaled answers are kept") \
X(journal_bucket, "journal.bucket", "SLUICE_JOURNAL_BUCKET", NAME, SLUICE_DEFAULT_JOURNAL_BUCKET, 0, 0, "key-value bucket of the journal") \
X(stall_limit_ms, "runtime.stall_limit", "SLUICE_STALL_LIMIT", SECONDS, "8", 0.1, 3600, "time a handler may block the loop; below ack wait / 3") \
X(shutdown_grace_ms, "runtime.shutdown_grace", "SLUICE_SHUTDOWN_GRACE", SECONDS, "25", 0, 3600, "time for messages in flight at shutdown") \
X(create_streams, "runtime.create_streams", "SLUICE_CREATE_STREAMS", FLAG, "0", 0, 1, "create missing streams, consumer and bucket at start") \
X(worker, "worker.path", "SLUICE_WORKER", TEXT, "", 0, 0, "plug-in: path, or name in the worker folder") \
X(worker_dir, "worker.directory", "SLUICE_WORKER_DIR", PATH, "", 0, 0, "folder of plug-ins; default: where Sluice installs them") \
X(prompt_dir, "worker.prompts", "SLUICE_PROMPT_DIR", PATH, "", 0, 0, "folder of prompt files; default: `prompts` beside the plug-in, else where the worker's are installed") \
X(store, "store.kind", "SLUICE_STORE", WORD, "", 0, 0, "sqlite|mongodb; without it: mongodb if MONGODB_URI is set, else sqlite") \
X(mongodb_uri, "store.mongodb_uri", "MONGODB_URI", SECRET, "", 0, 0, "MongoDB connection string; makes it the store") \
X(mongodb_database, "store.mongodb_database", "MONGODB_DATABASE", NAME, "sluice", 0, 0, "database") \
X(mongodb_timeout_ms, "store.mongodb_timeout", "MONGODB_TIMEOUT", SECONDS, "10", 0.1, 3600, "time for one MongoDB operation") \
X(mongodb_breaker_failures, "store.breaker_failures", "MONGODB_BREAKER_FAILURES", COUNT, "5", 1, 1000000, "consecutive failures that open the store's breaker") \
X(mongodb_breaker_reset_ms, "store.breaker_reset", "MONGODB_BREAKER_RESET", SECONDS, "60", 0.1, 86400, "time until the next trial") \
X(sqlite_path, "store.sqlite_path", "SLUICE_SQLITE_PATH", PATH, "sluice.db", 0, 0, "file of the embedded store") \
X(llm_base_url, "llm.base_url", "LLM_BASE_URL", URL, "http://localhost:8000/v1", 0, 0, "OpenAI-compatible endpoint; with a login in it, or llm.api_key") \
X(llm_api_key, "llm.api_key", "LLM_API_KEY", SECRET, "", 0, 0, "its key") \
X(llm_ca, "llm.ca", "LLM_CA", PATH, "", 0, 0, "PEM file of CA certificates for https; without it what SSL_CERT_FILE names, else the system's") \
X(llm_model, "llm.model", "LLM_MODEL", TEXT, "", 0, 0, "model; required if the worker asks an LLM") \
X(llm_timeout_ms, "llm.timeout", "LLM_TIMEOUT", SECONDS, "60", 0.1, 86400, "time for one LLM attempt") \
X(llm_temperature, "llm.temperature", "LLM_TEMPERATURE", NUMBER, "-1", -1, 2, "temperature; -1: not sent") \
X(llm_max_tokens, "llm.max_tokens", "LLM_MAX_TOKENS", COUNT, "0", 0, 10000000, "limit of an answer; 0: not sent") \
X(llm_stream, "llm.stream", "LLM_STREAM", FLAG, "0", 0, 1, "ask for streamed answers") \
X(llm_answer_size_max, "llm.answer_size_max", "LLM_ANSWER_SIZE_MAX", COUNT, "4194304", 1024, 67108864, "bytes of an answer's body") \
X(llm_threads, "llm.threads", "SLUICE_LLM_THREADS", COUNT, "-1", -1, 16, "further threads for LLM calls beyond the first 1,024 at once; 0: none; -1: as max_in_flight and the processors allow") \
X(llm_breaker_failures, "llm.breaker_failures", "LLM_BREAKER_FAILURES", COUNT, "5", 1, 1000000, "consecutive failures that open the LLM's breaker") \
X(llm_breaker_reset_ms, "llm.breaker_reset", "LLM_BREAKER_RESET", SECONDS, "60", 0.1, 86400, "time until the next trial") \
X(publish_timeout_ms, "publish.timeout", "SLUICE_PUBLISH_TIMEOUT", SECONDS, "10", 0.1, 300, "time until the stream's acknowledgement of an output, sent again meanwhile") \
X(publish_breaker_failures, "publish.breaker_failures", "SLUICE_PUBLISH_BREAKER_FAILURES", COUNT, "5", 1, 1000000, "consecutive failures that open the breaker of publishing") \
X(publish_breaker_reset_ms, "publish.breaker_reset", "SLUICE_PUBLISH_BREAKER_RESET", SECONDS, "30", 0.1, 86400, "time until the next trial") \
X(log_level, "log.level", "SLUICE_LOG_LEVEL", WORD, "info", 0, 0, "debug|info|warn|error") \
X(log_format, "log.format", "SLUICE_LOG_FORMAT", WORD, "text", 0, 0, "text|json") \
X(log_emoji, "log.emoji", "SLUICE_LOG_EMOJI", FLAG, "1", 0, 1, "icons in the log") \
X(stream_requests, "streams.requests", "SLUICE_STREAM_REQUESTS", NAME, SLUICE_DEFAULT_STREAM_REQUESTS, 0, 0, "stream of the requests") \
X(subject_request, "subjects.request", "SLUICE_SUBJECT_REQUEST", PATTERN, SLUICE_DEFAULT_SUBJECT_REQUEST, 0, 0, "subject of the requests; may have wildcards for a worker with routes") \
X(stream_ready, "streams.ready", "SLUICE_STREAM_READY", NAME, SLUICE_DEFAULT_STREAM_READY, 0, 0, "stream of the outputs") \
X(subject_ready, "subjects.ready", "SLUICE_SUBJECT_READY", SUBJECT, SLUICE_DEFAULT_SUBJECT_READY, 0, 0, "subject of output `ready`; another output NAME goes to SUBJECT.NAME, unless section outputs names its subject") \
X(stream_dead, "streams.dead", "SLUICE_STREAM_DEAD", NAME, SLUICE_DEFAULT_STREAM_DEAD, 0, 0, "stream of the dead letters") \
X(subject_dead, "subjects.dead", "SLUICE_SUBJECT_DEAD", SUBJECT, SLUICE_DEFAULT_SUBJECT_DEAD, 0, 0, "subject of the dead letters") \
X(durable, "runtime.durable", "SLUICE_DURABLE", NAME, "", 0, 0, "consumer group (durable) name; default: the worker's name")

/* One HTTP service, services.NAME.key of worker.yaml or SLUICE_SERVICE_NAME_suffix: X(member, key, suffix, as above).
 * Defaults: SVC-3, SVC-6, SVC-12. */
#define SLUICE_SERVICE_OPTIONS(X) \
X(url, "url", "URL", URL, "", 0, 0, "base URL; the worker's path is appended") \
X(timeout_ms, "timeout", "TIMEOUT", SECONDS, "30", 0.001, 3600, "time for one call") \
X(connections, "connections", "CONNECTIONS", COUNT, "100", 1, 65536, "connections at once; calls beyond them wait, inside their timeout") \
X(required, "required", "REQUIRED", FLAG, "1", 0, 1, "1: the boot fails when it does not answer; 0: that is only logged") \
X(ca, "ca", "CA", PATH, "", 0, 0, "PEM file of CA certificates for https; without it what SSL_CERT_FILE names, else the system's") \
X(health_path, "health_path", "HEALTH_PATH", TEXT, "/health", 0, 0, "path that the boot asks; any answer but 502, 503, 504 will do") \
X(token, "token", "TOKEN", SECRET, "", 0, 0, "credential, sent in auth_header") \
X(auth_header, "auth_header", "AUTH_HEADER", NAME, "Authorization", 0, 0, "header of the token; Authorization sends `Bearer TOKEN`") \
X(answer_size_max, "answer_size_max", "ANSWER_SIZE_MAX", COUNT, "16777216", 1024, 67108864, "bytes of an answer's body") \
X(breaker_failures, "breaker_failures", "BREAKER_FAILURES", COUNT, "5", 1, 1000000, "consecutive failures that open its breaker") \
X(breaker_reset_ms, "breaker_reset", "BREAKER_RESET", SECONDS, "60", 0.1, 86400, "time until the next trial")
/* clang-format on */

#endif
