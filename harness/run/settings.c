/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/run/settings.h"

#include "cases/edit.h"
#include "harness/run/engine_choice.h"
#include "ref/contract_words.h"

#define ROW(name, option, kind, usual, in_repro) \
    { #name, option, MP_SETTING_##kind, offsetof(mp_settings, name), usual, in_repro }

const mp_setting mp_setting_rows[] = {
    ROW(subject, "subject", TEXT, 0, true),
    ROW(against, "against", TEXT, 0, true),
    ROW(golden, "golden", TEXT, 0, true),
    ROW(device, "device", TEXT, 0, true),
    ROW(triton, "triton", TEXT, 0, true),
    ROW(config, "config", TEXT, 0, true),
    ROW(contract, "contract", TEXT, 0, true),
    ROW(edit, "edit", TEXT, 0, true),
    ROW(devices, "devices", TEXT, 0, true),
    ROW(repeat, "repeat", COUNT, MP_REPEAT, true),
    ROW(deterministic, "deterministic", FLAG, 0, true),
    ROW(timeout, "timeout", SECONDS, MP_TIMEOUT_SECONDS, true),
    ROW(plain, "plain", FLAG, 0, true),
    ROW(engine, "engine", TEXT, 0, true),
    ROW(golden_partial, "golden-partial", FLAG, 0, true),
    ROW(strict, "strict", FLAG, 0, true),
    ROW(once, NULL, FLAG, 0, false),
    ROW(figures, "figures", FLAG, 0, false),
    ROW(golden_required, NULL, FLAG, 0, false),
    ROW(jobs, "jobs", COUNT, 1, false),
    ROW(threads, NULL, COUNT, 0, false),
};
const int mp_setting_count = sizeof mp_setting_rows / sizeof *mp_setting_rows;

const char *mp_setting_text(const mp_settings *settings, const mp_setting *row) {
    const char *at = (const char *)settings + row->offset;
    return row->kind == MP_SETTING_TEXT ? *(const char *const *)at : NULL;
}

double mp_setting_number(const mp_settings *settings, const mp_setting *row) {
    const char *at = (const char *)settings + row->offset;
    switch (row->kind) {
    case MP_SETTING_TEXT: break;
    case MP_SETTING_COUNT: return *(const int *)at;
    case MP_SETTING_SECONDS: return *(const double *)at;
    case MP_SETTING_FLAG: return *(const bool *)at;
    }
    return 0;
}

void mp_setting_set(mp_settings *settings, const mp_setting *row, const char *text, double number) {
    char *at = (char *)settings + row->offset;
    switch (row->kind) {
    case MP_SETTING_TEXT: *(const char **)at = text; break;
    case MP_SETTING_COUNT: *(int *)at = (int)number; break;
    case MP_SETTING_SECONDS: *(double *)at = number; break;
    case MP_SETTING_FLAG: *(bool *)at = number != 0; break;
    }
}

mp_status mp_settings_check(const mp_settings *settings, mp_error *err) {
    for (int i = 0; i < mp_setting_count; i++) {
        const double number = mp_setting_number(settings, &mp_setting_rows[i]);
        if (!(number >= 0))
            return mp_fail(err, MP_EINPUT, "%s=%g: expected 0 or more", mp_setting_rows[i].name, number);
    }
    if (!settings->subject) return mp_fail(err, MP_EINPUT, "no subject was named");
    if (settings->deterministic && settings->repeat == 1)
        return mp_fail(err, MP_EINPUT, "deterministic with repeat=1: expected two runs or more");
    if (!settings->golden && (settings->golden_required || settings->golden_partial))
        return mp_fail(err, MP_EINPUT, "%s without a golden",
                       settings->golden_required ? "golden_required" : "golden_partial");
    const mp_status status = mp_engine_choice_check(settings, err);
    if (status != MP_OK) return status;
    if (settings->edit && settings->golden)
        return mp_fail(err, MP_EINPUT, "edit '%.100s' with a golden: it holds what cases without edits leave",
                       settings->edit);
    return settings->edit ? mp_edits_check(settings->edit, err) : MP_OK;
}

mp_status mp_settings_check_row(const mp_settings *settings, const mp_matrix_row *row, mp_error *err) {
    mp_contract contract;
    mp_status status = MP_OK;
    if (settings->edit && row->file)
        return mp_fail(err, MP_EINPUT, "edit '%.100s': nothing is run of the file %s", settings->edit,
                       row->file);
    if (settings->edit) status = mp_edits_check_case(settings->edit, &row->c, err);
    if (status == MP_OK && settings->contract && !row->file)
        status = mp_contract_of_words(settings->contract, &row->c, &contract, err);
    return status;
}
