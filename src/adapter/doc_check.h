/* SPDX-License-Identifier: Apache-2.0 */
/* What every store demands of a document before it is sent anywhere. Pure; any thread. */
#ifndef SLUICE_ADAPTER_DOC_CHECK_H
#define SLUICE_ADAPTER_DOC_CHECK_H

#include "port/store.h"

/* What MongoDB stores at most, less room for _id and the command around it. One limit for every
 * store: a worker must not depend on which one it runs on. */
#define SLUICE_DOCUMENT_SIZE_MAX   (16u * 1024u * 1024u - 16u * 1024u)
#define SLUICE_DOCUMENT_ID_MAX     1024u /* bytes; keys are shorter, see SLUICE_KEY_MAX */
#define SLUICE_COLLECTION_NAME_MAX 64u

/* Collection [A-Za-z0-9_-]{1,64}; id UTF-8 of 1…1024 bytes. ERR_VALIDATION naming what is wrong. */
sluice_rc sluice_doc_check_name(const struct sluice_doc *doc, struct sluice_err *err);

/* The name, and a body that is framed as one JSON object or one BSON document and is not too large.
 * What is inside is the codec's business. ERR_VALIDATION, ERR_TOO_LARGE. */
sluice_rc sluice_doc_check(const struct sluice_doc *doc, enum sluice_doc_format format,
                           struct sluice_err *err);

/* A number for (collection, id), never 0. Two documents may share one. */
uint64_t sluice_doc_hash(const struct sluice_doc *doc);

#endif
