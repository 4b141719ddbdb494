/* SPDX-License-Identifier: Apache-2.0 */
/* What can be wrong with tuned files: the one table of rules. Their ids are stable, for baselines and code
 * scanners keep them. */
#ifndef MP_HARNESS_TUNE_RULES_H
#define MP_HARNESS_TUNE_RULES_H

typedef enum mp_rule {
    /* the file cannot be read as what it is meant for */
    MP_RULE_CORRUPT_JSON,
    MP_RULE_NO_KEYS,
    MP_RULE_KEY_NOT_POSITIVE,
    MP_RULE_KEY_SPELLING,
    MP_RULE_DUPLICATE_KEY,
    MP_RULE_TRITON_VERSION_KEY,
    /* an entry cannot be launched, or says nothing */
    MP_RULE_ENTRY_NOT_OBJECT,
    MP_RULE_VALUE_MISSING,
    MP_RULE_VALUE_OUT_OF_RANGE,
    MP_RULE_UNKNOWN_ENTRY_KEY,
    MP_RULE_DEFAULTS_LEFT,
    /* numbers, and what runs is not what it says */
    MP_RULE_K_BLOCK_OVER_GROUP,
    MP_RULE_K_BLOCK_STRADDLES_GROUP,
    MP_RULE_K_BLOCK_CLAMPED,
    MP_RULE_BLOCK_OVERHANG,
    MP_RULE_SHARED_MEMORY,
    /* nobody finds it */
    MP_RULE_NAME_NOBODY_ASKS,
    MP_RULE_FOLDER_NOT_READ,
    MP_RULE_VERSION_FOLDER,
    MP_RULE_OTHER_TRITON,
    MP_RULE_SHORT_DEVICE_NAME,
    MP_RULE_SHADOWED,
    MP_RULE_SHADOWED_COPY,
    /* up and down */
    MP_RULE_DOWN_BLOCK_M,
    MP_RULE_DOWN_KEYS,
    MP_RULE_DOWN_WITHOUT_UP,
    MP_RULE_DOWN_ELSEWHERE,
    MP_RULE_TMA_SERVES_DOWN,
    MP_RULE_TMA_ON_UP,
    MP_RULE_TMA_NO_HARDWARE,
    /* the ladder of keys */
    MP_RULE_LADDER_SINGLE_KEY,
    MP_RULE_LADDER_BEGINS_LATE,
    MP_RULE_LADDER_ENDS_EARLY,
    MP_RULE_LADDER_SPARSE,
    MP_RULE_LADDER_ORDER,
    MP_RULE_ROWS_COPIED,
    MP_RULE_ROWS_THRASH,
    MP_RULE_FILE_COPIED,
    MP_RULE_COUNT
} mp_rule;

/* error: wrong numbers, a launch that fails, or a file that nobody reads. warning: what runs is not what was
 * tuned. note: worth knowing. */
typedef enum mp_severity { MP_SEVERITY_ERROR, MP_SEVERITY_WARNING, MP_SEVERITY_NOTE } mp_severity;

typedef struct mp_rule_row {
    const char *id;
    mp_severity severity;
    const char *summary; /* one line */
    const char *help;    /* why it matters, and what to do */
} mp_rule_row;
extern const mp_rule_row mp_rules[MP_RULE_COUNT];

const char *mp_severity_name(mp_severity severity); /* "error" */

#endif
