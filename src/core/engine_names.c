/* SPDX-License-Identifier: Apache-2.0 */
/* Names of the engine's lists; the lists themselves are in engine.h. */
#include "core/engine.h"

#define ROW_2(name, text)       text,
#define ROW_3(name, text, more) text,

#define DEFINE_NAME(function, type, count, list, row)                                              \
    const char *function(type value)                                                               \
    {                                                                                              \
        static const char *const names[] = {list(row)};                                            \
        _Static_assert(sizeof names / sizeof names[0] == (count), "a name for each");              \
        return (unsigned)value < (unsigned)(count) ? names[value] : "unknown";                     \
    }

DEFINE_NAME(sluice_msg_state_name, enum sluice_msg_state, SLUICE_MSG_STATE_COUNT, SLUICE_MSG_STATES,
            ROW_3)
DEFINE_NAME(sluice_outcome_name, enum sluice_outcome, SLUICE_OUTCOME_COUNT, SLUICE_OUTCOMES, ROW_2)
DEFINE_NAME(sluice_failure_name, enum sluice_failure, SLUICE_FAILURE_COUNT, SLUICE_FAILURES, ROW_3)
DEFINE_NAME(sluice_fate_name, enum sluice_fate, SLUICE_FATE_COUNT, SLUICE_FATES, ROW_2)
DEFINE_NAME(sluice_event_name, enum sluice_event_kind, SLUICE_EV_COUNT, SLUICE_EVENTS, ROW_2)
DEFINE_NAME(sluice_effect_name, enum sluice_effect_kind, SLUICE_FX_COUNT, SLUICE_EFFECTS, ROW_2)
