/* SPDX-License-Identifier: Apache-2.0 */
/* Logins and queries of URLs do not show: nats://user:***@host, http://host/path?***. A password
 * may hold / ? # : and @ as they are, and stand in a list with commas. Rather too much is masked
 * than too little. */
#ifndef SLUICE_CODEC_REDACT_H
#define SLUICE_CODEC_REDACT_H

#include <stddef.h>

/* A URL, or NATS servers with commas between them, that may lack their scheme. What is masked is
 * the text before an @ but the user's name before a colon, and all behind the first ? or #; control
 * characters are ?. Cut at `size`. */
void sluice_redact_url(const char *url, char *out, size_t size);

/* The same for URLs with a scheme anywhere in a text; a query ends at the next blank. */
void sluice_redact_text(const char *text, char *out, size_t size);

/* Call see(secret) with each password or token that stands in a URL or a list of them, as it is and
 * decoded, and with what stands behind the first ? or #. */
void sluice_redact_find(const char *url, void (*see)(const char *secret));

/* The next of secrets that stand one a line in *list, which moves on; NULL: no more. An empty one
 * is none. */
const char *sluice_redact_next(const char **list, size_t *len);

#endif
