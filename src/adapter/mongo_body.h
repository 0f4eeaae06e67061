/* SPDX-License-Identifier: Apache-2.0 */
/* Is a document's body fit to be sent to a MongoDB server? Pure; of libbson alone. */
#ifndef SLUICE_ADAPTER_MONGO_BODY_H
#define SLUICE_ADAPTER_MONGO_BODY_H

#include "sluice/worker.h"

#define SLUICE_MONGO_DEPTH_MAX 100u /* MongoDB's own limit for stored documents */

/* What is wrong with it, NULL if nothing: lengths that do not fit into each other, text that is not
 * UTF-8, nesting over the limit, a field named _id or beginning with $ at the top. A server may
 * answer such a body by ending the connection, which would fail all messages of a group.
 * (bson_validate() of libbson 1.23 calls a document valid when it stops at invalid UTF-8, whatever
 * follows.) */
const char *sluice_mongo_body_fault(sluice_bytes body);

#endif
