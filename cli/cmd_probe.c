/* SPDX-License-Identifier: Apache-2.0 */
/* moeparity probe: what this device's arithmetic is, and whether the bit model holds on it. */
#include "cli/common.h"
#include "cli/progress.h"

#include "base/file.h"
#include "harness/probe/probe_special.h"
#include "harness/verdict_json.h"
#include "harness/verdict_make.h"
#include "kernels/driver.h"
#include "ref/predict/special_unit_tables.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One instruction: a headline, what was measured, and what speaks against the model. */
static void print_result(const mp_probe_result *r) {
    static const char *const sources[] = {"no model", "model", "proposed model"};
    char text[512];
    printf("%-8s %-4s -> %s  %s%s", mp_probe_instruction_name(r->kind), r->kind->instruction.type,
           mp_probe_result_name(r->kind), sources[r->source],
           r->source == MP_MODEL_NONE ? ""
           : r->holds                 ? " holds"
                                      : " DOES NOT HOLD");
    if (r->known) printf(", known vectors %d/%d", r->known_right, r->known);
    if (r->source != MP_MODEL_NONE) {
        printf(", mismatches");
        for (int mode = 0; mode < MP_PROBE_MODE_COUNT; mode++)
            printf(" %s %lld", mp_probe_mode_name((mp_probe_mode)mode),
                   (long long)r->random[mode].mismatches);
        printf(" of %lld each", (long long)r->random[0].vectors);
    }
    putchar('\n');
    if (r->measurable) {
        mp_measurement_text(&r->measured, text, sizeof text);
        printf("    measured  %s\n", text);
    }
    if (r->differs) {
        mp_measurement_text(&r->expected, text, sizeof text);
        printf("    model     %s\n    differs   in %s\n", text, r->differs);
    }
    if (r->known_first[0]) printf("    known     %s\n", r->known_first);
    for (int mode = 0; mode < MP_PROBE_MODE_COUNT; mode++)
        if (r->random[mode].mismatches)
            printf("    %-9s %s\n", mp_probe_mode_name((mp_probe_mode)mode), r->random[mode].first);
    if (r->source == MP_MODEL_PROPOSED)
        printf("    proposed  group=%d fraction_bits=%d result_fraction_bits=%d zero_exponent=%d%s\n",
               r->model.group, r->model.fraction_bits, r->model.result_fraction_bits, r->model.zero_exponent,
               r->model.method == MP_TC_THROUGH_FP16 ? " through fp16" : "");
    fflush(stdout);
}

/* Instructions by what came of them. */
typedef struct tally {
    int holds, fails, proposed, unmodelled;
} tally;

static void count_result(tally *t, const mp_probe_result *r) {
    if (r->source == MP_MODEL_TABLE)
        *(r->holds ? &t->holds : &t->fails) += 1;
    else if (r->source == MP_MODEL_PROPOSED)
        t->proposed++;
    else
        t->unmodelled++;
}

static bool verdict(const tally *t) {
    return t->holds > 0 && t->fails == 0 && t->proposed == 0 && t->unmodelled == 0;
}

static void print_verdict(const mp_cuda *cuda, const tally *t) {
    const int sm = mp_cuda_architecture(cuda);
    if (verdict(t))
        printf("the model of sm_%d holds on this device: %d instructions\n", sm, t->holds);
    else if (t->holds + t->fails == 0)
        printf("there is no model of sm_%d: parameters are proposed for %d instructions\n", sm, t->proposed);
    else
        printf("the model of sm_%d does not hold on this device: %d of %d instructions differ, %d are not in "
               "the table\n",
               sm, t->fails, t->holds + t->fails, t->proposed + t->unmodelled);
}

/* ---- the special-function unit ---- */

static void print_special(const mp_special_result *r) {
    printf("%-19s model%s, mismatches", r->kind->name, r->holds ? " holds" : " DOES NOT HOLD");
    for (int mode = 0; mode < MP_PROBE_MODE_COUNT; mode++)
        printf(" %s %lld", mp_probe_mode_name((mp_probe_mode)mode), (long long)r->random[mode].mismatches);
    printf(" of %lld each\n", (long long)r->random[0].vectors);
    for (int mode = 0; mode < MP_PROBE_MODE_COUNT; mode++)
        if (r->random[mode].mismatches)
            printf("    %-9s %s\n", mp_probe_mode_name((mp_probe_mode)mode), r->random[mode].first);
    fflush(stdout);
}

static mp_status write_table(const char *folder, int sm, const char *name, const int8_t *ulps,
                             mp_error *err) {
    char path[4096];
    void *packed = NULL;
    size_t bytes = 0;
    mp_status status = MP_OK;
    if ((size_t)snprintf(path, sizeof path, "%s/sm_%d_%s.z", folder, sm, name) >= sizeof path)
        return mp_fail(err, MP_EINPUT, "--tables: a path of %zu bytes: expected fewer than %zu",
                       strlen(folder), sizeof path);
    MP_DO(mp_special_unit_pack(ulps, &packed, &bytes, err));
    MP_DO(mp_file_replace(path, packed, bytes, err));
    printf("%s: %zu bytes\n", path, bytes);
out:
    free(packed);
    return status;
}

/* The tables, then the instructions. *special: new reference. */
static mp_status probe_special_unit(mp_cuda *cuda, const mp_probe_options *options, const char *tables,
                                    mp_status_line *line, bool *holds, json_t **special, mp_error *err) {
    static const char *const names[] = {"ex2", "rcp"};
    const int sm = mp_cuda_architecture(cuda);
    const mp_special_unit *unit;
    mp_status status = MP_OK;
    json_t *instructions = json_array();
    int8_t *ulps = malloc(MP_SPECIAL_UNIT_ENTRIES);
    mp_special_table table[2] = {{0, 0}, {0, 0}};
    *holds = true;
    if (!ulps) MP_DO(mp_fail(err, MP_EMEMORY, "no memory for a table of %d ulps", MP_SPECIAL_UNIT_ENTRIES));
    MP_DO(mp_special_unit_sm90(&unit, err));
    for (int k = 0; k < 2; k++) {
        mp_status_line_show(line, "table of %s", names[k]);
        MP_DO(mp_special_record(k == 1, mp_special_evaluate_cuda, cuda, unit, ulps, &table[k], err));
        mp_status_line_clear(line);
        printf("%s table           %lld of %d entries differ from sm_90's\n", names[k],
               (long long)table[k].differ, MP_SPECIAL_UNIT_ENTRIES);
        if (tables && table[k].unkept)
            MP_DO(mp_fail(err, MP_EDEVICE,
                          "--tables: %lld entries of %s are more than 127 ulps from the correctly rounded "
                          "value: expected none",
                          (long long)table[k].unkept, names[k]));
        if (tables) MP_DO(write_table(tables, sm, names[k], ulps, err));
        *holds &= table[k].differ == 0;
    }
    for (int i = 0; i < mp_special_kind_count; i++) {
        mp_special_result r;
        mp_status_line_show(line, "%s", mp_special_kinds[i].name);
        MP_DO(mp_special_run(&mp_special_kinds[i], mp_special_evaluate_cuda, cuda, unit, options, &r, err));
        mp_status_line_clear(line);
        print_special(&r);
        *holds &= r.holds;
        json_array_append_new(instructions, mp_special_result_to_json(&r));
    }
    printf("the special-function unit of this sm_%d is %s\n", sm,
           *holds ? "that of the model, an sm_90's" : "NOT that of the model, an sm_90's");
    *special = json_pack("{s:s, s:b, s:{s:I, s:I}, s:O}", "model", "sm_90", "holds", *holds, "differ", "ex2",
                         (json_int_t)table[0].differ, "rcp", (json_int_t)table[1].differ, "instructions",
                         instructions);
out:
    mp_status_line_clear(line);
    json_decref(instructions);
    free(ulps);
    return status;
}

static mp_status write_json(const char *path, const mp_run_info *info, bool holds, json_t *results,
                            json_t *special, mp_error *err) {
    json_t *report = json_pack("{s:s, s:i, s:o, s:b, s:O, s:O}", "format", "moeparity probe", "version", 1,
                               "run", mp_run_info_to_json(info), "holds", holds, "instructions", results,
                               "special_unit", special);
    char *text = report ? json_dumps(report, JSON_INDENT(1)) : NULL;
    const mp_status status = text ? mp_file_replace(path, text, strlen(text), err)
                                  : mp_fail(err, MP_EMEMORY, "no memory for the JSON report %s", path);
    free(text);
    json_decref(report);
    return status;
}

int mp_cmd_probe(const mp_args *args) {
    const mp_probe_options options = {.vectors = mp_args_number(args, MP_OPT_VECTORS),
                                      .seed = mp_args_number(args, MP_OPT_SEED)};
    const char *json_path = mp_args_text(args, MP_OPT_JSON), *tables = mp_args_text(args, MP_OPT_TABLES);
    mp_run_info info;
    mp_cuda *cuda = NULL;
    json_t *results = NULL, *special = NULL;
    tally t = {0};
    bool holds = false, unit_holds = false;
    mp_status_line line = mp_status_line_open();
    mp_error err = {0};
    mp_status status = MP_OK;
    MP_DO(mp_cli_run_info(args, &info, &err));
    if (json_path) MP_DO(mp_file_writable(json_path, &err));
    MP_DO(mp_cuda_open(&cuda, &err));
    if (tables) MP_DO(mp_file_make_directories(tables, &err));
    mp_run_info_set(&info, &info.subject, "probe");
    mp_run_info_set(&info, &info.device, "%s", mp_cuda_device_name(cuda));
    mp_run_info_set(&info, &info.versions, "%s", mp_cuda_versions(cuda));
    printf("%s, %s\n", info.device, info.versions);
    results = json_array();
    for (int i = 0; i < mp_probe_kind_count; i++) {
        mp_probe_result r;
        if (!mp_mma_supported(mp_cuda_architecture(cuda), &mp_probe_kinds[i].instruction)) continue;
        mp_status_line_show(&line, "%s %s", mp_probe_instruction_name(&mp_probe_kinds[i]),
                            mp_probe_kinds[i].instruction.type);
        MP_DO(mp_probe_run_cuda(&mp_probe_kinds[i], cuda, &options, &r, &err));
        mp_status_line_clear(&line);
        print_result(&r);
        count_result(&t, &r);
        json_array_append_new(results, mp_probe_result_to_json(&r));
    }
    MP_DO(probe_special_unit(cuda, &options, tables, &line, &unit_holds, &special, &err));
    print_verdict(cuda, &t);
    /* Of other architectures nothing is claimed that their unit could fail. */
    holds = verdict(&t) && (unit_holds || mp_cuda_architecture(cuda) != 90);
    if (json_path) MP_DO(write_json(json_path, &info, holds, results, special, &err));
out:
    mp_status_line_clear(&line);
    json_decref(results);
    json_decref(special);
    mp_run_info_free(&info);
    mp_cuda_close(cuda);
    if (status != MP_OK) return mp_cli_fail(&err);
    return holds ? MP_EXIT_OK : MP_EXIT_FAILURE;
}
