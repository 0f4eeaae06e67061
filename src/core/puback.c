/* SPDX-License-Identifier: Apache-2.0 */
#include "core/puback.h"

int sluice_puback_is_stored(int is_error, uint64_t sequence)
{
    return !is_error && sequence > 0;
}
