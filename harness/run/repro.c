/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/run/repro.h"

#include "cases/case_tools.h"
#include "harness/run/settings.h"
#include "harness/verdict_make.h"
#include "kernels/lookup.h"

#include <math.h>
#include <string.h>

static void add_option(mp_text *text, const char *option, const char *value) {
    mp_text_add(text, " --%s ", option);
    mp_text_add_word(text, value);
}

static void add_case(mp_text *text, const mp_matrix_row *row, bool pairs) {
    char name[MP_CASE_TEXT_MAX];
    mp_case_text(&row->c, name, sizeof name);
    add_option(text, "case", name);
    for (size_t i = 0; pairs && i < row->pair_count; i++) add_option(text, "pair", row->pair_text[i]);
    for (size_t i = 0; pairs && i < row->after_count; i++) add_option(text, "after", row->after_text[i]);
}

/* Where tiles may come from. */
static void add_tuned_folders(mp_text *text) {
    for (int i = 0; i < MP_TUNED_FOLDERS; i++) {
        const char *variable, *folder = mp_tuned_folder(i, &variable);
        if (!folder) continue;
        mp_text_add(text, "%s=", variable);
        mp_text_add_word(text, folder);
        mp_text_add(text, " ");
    }
}

static void add_setting(mp_text *text, const mp_settings *settings, const mp_setting *row) {
    const char *value = mp_setting_text(settings, row);
    const double number = mp_setting_number(settings, row);
    if (value)
        add_option(text, row->option, value);
    else if (row->kind == MP_SETTING_FLAG && number != 0)
        mp_text_add(text, " --%s", row->option);
    else if (number > 0 && number != row->usual)
        mp_text_add(text, " --%s %.0f", row->option, ceil(number)); /* the line takes whole numbers */
}

void mp_settings_text(const mp_settings *settings, mp_text *text) {
    for (int i = 0; i < mp_setting_count; i++) {
        const mp_setting *row = &mp_setting_rows[i];
        const bool place = row->offset == offsetof(mp_settings, devices);
        if (row->in_repro && !place && row->offset != offsetof(mp_settings, subject))
            add_setting(text, settings, row);
    }
}

/* What was judged from a file: nothing was run, so nothing is left over from another case. */
static void add_file(mp_text *text, const mp_matrix_row *row, const mp_settings *settings) {
    mp_text_add(text, "moeparity judge %s", row->file[0] == '-' ? "./" : "");
    mp_text_add_word(text, row->file);
    add_case(text, row, false);
    mp_settings_text(settings, text);
}

void mp_repro(const mp_matrix_row *row, const mp_matrix_row *const *before, size_t count,
              const mp_settings *settings, mp_text *text) {
    const size_t first = count > MP_REPRO_ROWS ? count - MP_REPRO_ROWS : 0;
    if (row->file) {
        add_file(text, row, settings);
        return;
    }
    const bool verify = settings->golden &&
                        settings->golden_required; /* what cannot be compared fails there, and only there */
    bool looked_up = mp_tile_is_auto(&row->c.tile);
    for (size_t i = first; i < count; i++) looked_up = looked_up || mp_tile_is_auto(&before[i]->c.tile);
    if (looked_up) add_tuned_folders(text);
    mp_text_add(text, verify ? "moeparity golden verify " : "moeparity run");
    if (verify && settings->golden[0] == '-') mp_text_add(text, "./"); /* no option */
    if (verify) mp_text_add_word(text, settings->golden);
    for (size_t i = first; i < count; i++) add_case(text, before[i], !verify);
    add_case(text, row, !verify);
    for (int i = 0; i < mp_setting_count; i++) {
        const mp_setting *setting = &mp_setting_rows[i];
        const bool said = verify && setting->offset == offsetof(mp_settings, golden);
        if (setting->in_repro && !said) add_setting(text, settings, setting);
    }
}

void mp_verdict_set_repro(const mp_matrix_row *row, const mp_matrix_row *const *before, size_t count,
                          const mp_settings *settings, mp_verdict *v) {
    mp_text repro = {0};
    mp_settings there = *settings; /* of what passed no device has a part in it */
    if (v->outcome == MP_PASS || v->outcome == MP_SKIP) there.devices = NULL;
    const bool alone = v->outcome == MP_PASS || v->outcome == MP_SKIP || row->file;
    mp_repro(row, before, alone ? 0 : count, &there, &repro);
    mp_verdict_set(v, &v->repro, "%s", mp_text_get(&repro));
    if (!alone && count > MP_REPRO_ROWS)
        mp_verdict_set(v, &v->history, "%zu rows ran before it in this process; the line repeats the last %d",
                       count, MP_REPRO_ROWS);
    mp_text_free(&repro);
}

void mp_verdict_begin(const mp_matrix_row *row, const mp_matrix_row *const *before, size_t count,
                      const mp_settings *settings, mp_outcome outcome, mp_verdict *v) {
    mp_verdict_init(v);
    v->outcome = outcome;
    mp_case_text(&row->c, v->name, sizeof v->name);
    mp_verdict_set(v, &v->group, "%s", row->group ? row->group : "");
    mp_verdict_set(v, &v->subject, "%s", settings->subject ? settings->subject : "");
    mp_verdict_set_repro(row, before, count, settings, v);
}
