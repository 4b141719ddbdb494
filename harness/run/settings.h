/* SPDX-License-Identifier: Apache-2.0 */
/* The one table of settings: by it the command line is read, workers are told, and repros are written. */
#ifndef MP_HARNESS_SETTINGS_H
#define MP_HARNESS_SETTINGS_H

#include "moeparity/matrix.h"
#include "moeparity/settings.h"
#include "moeparity/status.h"

#include <stddef.h>

typedef enum mp_setting_kind {
    MP_SETTING_TEXT,    /* const char * */
    MP_SETTING_COUNT,   /* int, from 0 */
    MP_SETTING_SECONDS, /* double, from 0 */
    MP_SETTING_FLAG     /* bool */
} mp_setting_kind;

typedef struct mp_setting {
    const char *name;   /* in messages to workers */
    const char *option; /* on the command line, without the dashes; NULL: none */
    mp_setting_kind kind;
    size_t offset;
    double usual;  /* what 0 means */
    bool in_repro; /* what a case alone, on this machine, may owe its verdict to */
} mp_setting;
extern const mp_setting mp_setting_rows[];
extern const int mp_setting_count;

/* The text of a MP_SETTING_TEXT, NULL for another kind; and the number of the others. */
const char *mp_setting_text(const mp_settings *settings, const mp_setting *row);
double mp_setting_number(const mp_settings *settings, const mp_setting *row);
/* Sets it: the text, which is borrowed, or the number, by the row's kind. */
void mp_setting_set(mp_settings *settings, const mp_setting *row, const char *text, double number);

/* MP_EINPUT where they cannot be: no subject, a number below 0, what is said of a golden without one. */
mp_status mp_settings_check(const mp_settings *settings, mp_error *err);

/* Whether a row can be judged under them: its inputs have a place for the edits, and the words of the
 * contract are known. MP_EINPUT otherwise. */
mp_status mp_settings_check_row(const mp_settings *settings, const mp_matrix_row *row, mp_error *err);

#endif
