/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/subjects/plugin.h"

#include "base/text.h"
#include "cases/graph_tables.h"
#include "harness/subjects/foreign.h"
#include "harness/subjects/leaks.h"
#include "moeparity/plugin.h"

#include <dlfcn.h>
#include <stdlib.h>

typedef struct plugin {
    char *name; /* plugin:PATH,words */
    void *library;
    mp_plugin api; /* as much of it as the library has */
    void *self;    /* the plug-in's */
    bool opened;
    mp_cuda *cuda; /* where it works on the device; else NULL */
    mp_leaks leaks;
} plugin;

/* A function's result and text as a status. */
static mp_status result_of(const plugin *p, int result, mp_plugin_error *said, mp_error *err) {
    static const mp_status statuses[] = {[MP_PLUGIN_OK] = MP_OK,
                                         [MP_PLUGIN_UNSUPPORTED] = MP_EUNSUPPORTED,
                                         [MP_PLUGIN_FAILED] = MP_EDEVICE,
                                         [MP_PLUGIN_INVALID] = MP_EINPUT};
    if (result == MP_PLUGIN_OK) return MP_OK;
    said->text[sizeof said->text - 1] = '\0';
    const bool known = result > 0 && result <= MP_PLUGIN_INVALID;
    return mp_fail(err, known ? statuses[result] : MP_EDEVICE, "%s: %s", p->api.name,
                   said->text[0] ? said->text : "failed without a reason");
}

#define TILE_TEXT 64

/* ---- a case and its tensors, for the plug-in ---- */

static mp_plugin_case case_of(const mp_case *c, char text[MP_CASE_TEXT_MAX]) {
    mp_case_text(c, text, MP_CASE_TEXT_MAX);
    return (mp_plugin_case){
        .struct_size = sizeof(mp_plugin_case),
        .text = text,
        .M = c->M,
        .E = c->E,
        .topk = c->topk,
        .K = c->K,
        .N = c->N,
        .dtype = mp_dtype_name(c->dtype),
        .act = mp_activation_name(c->act),
        .gated = c->gated,
        .interleaved = c->interleaved,
        .bias = c->bias,
        .apply_router_weight_on_input = c->apply_router_weight_on_input,
        .fused_sum = c->fused_sum,
        .alpha = c->alpha,
        .limit = c->limit,
        .rsf = c->rsf,
        .filter = c->filter,
        .mode = mp_mode_name(c->mode),
        .layout = mp_layout_name(c->layout),
        .path = mp_path_name(c->path),
        .scope = mp_scope_name(c->scope),
        .data = mp_data_name(c->data),
        .routing = mp_routing_name(c->routing),
        .ep_size = c->ep_size,
        .ep_rank = c->ep_rank,
        .seed = c->seed,
        .no_combine_keep_router_weight = c->no_combine_keep_router_weight,
        .expert_map = mp_expert_map_name(c->expert_map),
        .sentinel = mp_sentinel_name(c->sentinel),
        .weight_row_gap = c->weight_row_gap,
        .weight_expert_gap = c->weight_expert_gap,
        .buffer_offset = c->buffer_offset,
        .shared = mp_shared_name(c->shared),
        .apply_router_weight_in_combine = c->apply_router_weight_in_combine,
    };
}

static mp_plugin_tensor tensor_of(const mp_case *c, const mp_tensor *t, mp_tensor_id id, bool is_output) {
    const mp_placement place = mp_case_placement(c, id, t);
    mp_plugin_tensor tensor = {.struct_size = sizeof tensor,
                               .name = mp_tensor_name(id),
                               .dtype = mp_dtype_name(t->dtype),
                               .is_output = is_output,
                               .rank = t->rank,
                               .bytes = place.bytes - place.first,
                               .data = t->data};
    for (int d = 0; d < t->rank; d++) {
        tensor.shape[d] = place.dim[d];
        tensor.stride[d] = place.stride[d];
    }
    return tensor;
}

/* ---- the subject ---- */

static mp_status plugin_describe(mp_subject *s, const mp_case *c, mp_offer *offer, mp_error *err) {
    plugin *p = s->self;
    char text[MP_CASE_TEXT_MAX];
    const mp_plugin_case told = case_of(c, text);
    mp_plugin_offer said = {.struct_size = sizeof said};
    mp_plugin_error why = {.struct_size = sizeof why};
    mp_status status = mp_foreign_knows(p->api.takes, c, p->api.name, err);
    if (status != MP_OK) return status;
    status = result_of(p, p->api.describe(p->self, &told, &said, &why), &why, err);
    if (status == MP_EINPUT) status = mp_fail(err, MP_EDEVICE, "%s: %s", p->api.name, why.text);
    if (status != MP_OK) return status;
    const mp_foreign_words words = {said.contract, said.contract_fields, said.exposes, said.block_size_m};
    status = mp_foreign_offer(&words, c, &s->query, offer, err);
    for (int i = 0; i < MP_WORKSPACES; i++) offer->workspace_bytes[i] = said.workspace_bytes[i];
    offer->host_bytes = said.host_bytes;
    offer->graphs = said.graphs;
    offer->overlaps = said.overlaps;
    return status == MP_OK && p->cuda ? mp_foreign_device(p->cuda, said.device_bytes, offer, err) : status;
}

/* Has the plug-in run, or begin to, on a stream. */
static mp_status call_run(plugin *p, const mp_execution *e, void *stream, mp_error *err) {
    char text[MP_CASE_TEXT_MAX], up[TILE_TEXT], down[TILE_TEXT];
    const mp_plugin_case c = case_of(e->c, text);
    const mp_tensor_set outputs = mp_case_possible_outputs(e->c);
    mp_plugin_tensor tensors[MP_TENSOR_COUNT];
    mp_plugin_error why = {.struct_size = sizeof why};
    mp_plugin_run run = {.struct_size = sizeof run,
                         .c = &c,
                         .tensor = tensors,
                         .stream = stream,
                         .block_size_m = e->offer->config.up.block_size_m,
                         .tile = up,
                         .tile_down = down};
    mp_tile_text(&e->offer->config.up, up);
    mp_tile_text(&e->offer->config.down, down);
    for (int i = 0; i < MP_WORKSPACES; i++) run.workspace[i] = e->workspace[i];
    for (int id = 0; id < MP_TENSOR_COUNT; id++)
        if (e->t[id].data)
            tensors[run.tensor_count++] =
                tensor_of(e->c, &e->t[id], (mp_tensor_id)id, outputs & MP_IN_SET(id));
    mp_status status = result_of(p, p->api.run(p->self, &run, &why), &why, err);
    if (status == MP_EINPUT && err) err->status = status = MP_EDEVICE; /* too late for words to be wrong */
    return status;
}

static mp_status plugin_run(mp_subject *s, const mp_execution *e, mp_error *err) {
    plugin *p = s->self;
    mp_status status = p->cuda ? mp_leaks_begin(&p->leaks, p->cuda, err) : MP_OK;
    if (status == MP_OK) status = call_run(p, e, NULL, err);
    if (status == MP_OK && p->cuda) status = mp_cuda_synchronize(p->cuda, err);
    return status == MP_OK && p->cuda ? mp_leaks_end(&p->leaks, p->cuda, 0, p->api.name, err) : status;
}

static mp_status plugin_begin(mp_subject *s, const mp_execution *e, void *stream, mp_error *err) {
    return call_run(s->self, e, stream, err);
}

static void plugin_close(mp_subject *s) {
    plugin *p = s->self;
    if (p->opened && p->api.close) p->api.close(p->self);
    mp_cuda_close(p->cuda);
    free(p->name); /* the library stays: what it started may still run in it */
    free(p);
}

/* ---- opening ---- */

static mp_status load(plugin *p, const char *path, mp_error *err) {
    mp_text at = {0};
    mp_text_add(&at, "%s%s", strchr(path, '/') ? "" : "./", path);
    p->library = dlopen(mp_text_get(&at), RTLD_NOW | RTLD_LOCAL);
    mp_text_free(&at);
    if (!p->library) return mp_fail(err, MP_EINPUT, "cannot load the plug-in: %s", dlerror());
    mp_plugin_entry *entry;
    *(void **)&entry = dlsym(p->library, MP_PLUGIN_ENTRY);
    if (!entry)
        return mp_fail(err, MP_EINPUT, "%s is no plug-in: it exports no %s (moeparity/plugin.h)", path,
                       MP_PLUGIN_ENTRY);
    const mp_plugin *given = entry();
    if (!given) return mp_fail(err, MP_EINPUT, "%s: %s returned NULL", path, MP_PLUGIN_ENTRY);
    if (given->abi_version != MP_PLUGIN_ABI)
        return mp_fail(err, MP_EINPUT,
                       "%s speaks version %d of the plug-in interface; this program speaks %d", path,
                       given->abi_version, MP_PLUGIN_ABI);
    const size_t least = offsetof(mp_plugin, close);
    if (given->struct_size < least)
        return mp_fail(err, MP_EINPUT, "%s: its mp_plugin has %zu bytes; expected at least %zu", path,
                       given->struct_size, least);
    memcpy(&p->api, given, given->struct_size < sizeof p->api ? given->struct_size : sizeof p->api);
    if (!p->api.name || !p->api.describe || !p->api.run)
        return mp_fail(err, MP_EINPUT, "%s: its mp_plugin has no %s", path,
                       !p->api.name       ? "name"
                       : !p->api.describe ? "describe"
                                          : "run");
    return MP_OK;
}

char *mp_plugin_path(const char *name) {
    if (strncmp(name, MP_PLUGIN_PREFIX, strlen(MP_PLUGIN_PREFIX)) != 0) return NULL;
    const char *path = name + strlen(MP_PLUGIN_PREFIX);
    return strndup(path, strcspn(path, ","));
}

/* The space that it works in. */
static mp_status find_space(plugin *p, mp_subject *s, mp_error *err) {
    const char *device = p->api.device;
    if (!device || strcmp(device, "host") == 0) return MP_OK;
    if (strcmp(device, "cuda") != 0)
        return mp_fail(err, MP_EINPUT, "%s works on '%s': expected host or cuda", p->api.name, device);
    const mp_status status = mp_cuda_open_memory(&p->cuda, err);
    if (status != MP_OK) return status;
    s->space = mp_cuda_space(p->cuda);
    s->streams = mp_cuda_streams(p->cuda);
    s->begin = plugin_begin;
    snprintf(s->device, sizeof s->device, "%s", mp_cuda_device_name(p->cuda));
    return MP_OK;
}

static mp_status open_plugin(plugin *p, mp_subject *s, mp_error *err) {
    const char *path = p->name + strlen(MP_PLUGIN_PREFIX), *comma = strchr(path, ',');
    if (!*path || comma == path) return mp_fail(err, MP_EINPUT, "%s: expected plugin:PATH[,words]", p->name);
    char *file = mp_plugin_path(p->name);
    mp_plugin_error why = {.struct_size = sizeof why};
    mp_status status = file ? load(p, file, err) : mp_fail(err, MP_EMEMORY, "no memory for a path");
    free(file);
    if (status == MP_OK) status = find_space(p, s, err);
    if (status == MP_OK && comma && !p->api.open)
        status = mp_fail(err, MP_EINPUT, "%s: '%s': this plug-in takes no words, it has no open", p->name,
                         comma + 1);
    if (status == MP_OK && p->api.open)
        status = result_of(p, p->api.open(comma ? comma + 1 : "", &p->self, &why), &why, err);
    p->opened = status == MP_OK;
    if (status != MP_OK) return status;
    const char *version = p->api.version ? p->api.version : "";
    mp_text_fit(s->versions, sizeof s->versions, "%s%s%s%s%s", p->api.name, version[0] ? " " : "", version,
                p->cuda ? ", " : "", p->cuda ? mp_cuda_versions(p->cuda) : "");
    return MP_OK;
}

mp_status mp_plugin_open(const char *name, mp_subject *s, mp_error *err) {
    plugin *p = calloc(1, sizeof *p);
    if (p) p->name = strdup(name);
    if (!p || !p->name) {
        free(p);
        return mp_fail(err, MP_EMEMORY, "no memory for a plug-in");
    }
    *s = (mp_subject){
        .name = p->name, .self = p, .describe = plugin_describe, .run = plugin_run, .close = plugin_close};
    const mp_status status = open_plugin(p, s, err);
    if (status != MP_OK) mp_subject_close(s);
    return status;
}
