/* SPDX-License-Identifier: Apache-2.0 */
#include "adapter/call_verdict.h"

#include <stdarg.h>
#include <stdio.h>

void sluice_call_rule(struct sluice_call_verdict *verdict, enum sluice_fate fate, sluice_rc rc,
                      const char *format, ...)
{
    va_list arguments;
    verdict->fate = fate;
    verdict->rc = rc;
    va_start(arguments, format);
    (void)vsnprintf(verdict->text, sizeof verdict->text, format, arguments);
    va_end(arguments);
}
