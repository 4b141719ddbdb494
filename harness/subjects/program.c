/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/subjects/program.h"

#include "base/text.h"
#include "cases/case_json.h"
#include "cases/case_tools.h"
#include "cases/graph_tables.h"
#include "harness/subjects/foreign.h"
#include "harness/subjects/leaks.h"
#include "harness/subjects/shared_space.h"
#include "harness/subjects/surroundings.h"
#include "harness/subjects/talk.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <wordexp.h>

typedef struct program {
    char *name;     /* worker:COMMAND */
    char title[64]; /* as it calls itself */
    mp_text takes;  /* names of the younger fields that it knows */
    mp_talk talk;
    mp_shared_space memory; /* of the host, where the tensors lie unless cuda is there */
    mp_cuda *cuda;          /* where the tensors lie on the device; else NULL */
    mp_leaks leaks;
    bool copies;      /* it works on the device, on copies of tensors on the host */
    char reason[256]; /* why: the device's memory cannot be shared */
    mp_case left_case;
    mp_tensor_set left; /* what a run of left_case has left; 0: not told */
} program;

/* What a program says of one case, bad input or a file that it cannot read, does not end the run. */
static mp_status not_of_the_run(mp_status status, mp_error *err) {
    if (status != MP_EINPUT && status != MP_EIO) return status;
    if (err) err->status = MP_EDEVICE;
    return MP_EDEVICE;
}

static void to_hex(const unsigned char *bytes, size_t count, char *hex) {
    for (size_t i = 0; i < count; i++) snprintf(hex + 2 * i, 3, "%02x", bytes[i]);
}

/* ---- what is said of a case ---- */

static json_t *names_to_json(mp_tensor_set set) {
    json_t *names = json_array();
    for (int id = 0; id < MP_TENSOR_COUNT; id++)
        if (set & MP_IN_SET(id)) json_array_append_new(names, json_string(mp_tensor_name((mp_tensor_id)id)));
    return names;
}

static json_t *case_to_json(const mp_case *c) {
    char text[MP_CASE_TEXT_MAX];
    mp_case_text(c, text, sizeof text);
    return json_pack("{s:s, s:o, s:o, s:o}", "text", text, "fields", mp_case_json(c), "inputs",
                     names_to_json(mp_case_inputs(c)), "outputs", names_to_json(mp_case_possible_outputs(c)));
}

static bool are_workspaces(const json_t *list) {
    const json_t *bytes;
    size_t i;
    bool right = json_array_size(list) <= MP_WORKSPACES;
    json_array_foreach(list, i, bytes) right =
        right && json_is_integer(bytes) && json_integer_value(bytes) >= 0;
    return right;
}

/* What is there must be of its type: nothing is guessed. */
static mp_status check_offer(const json_t *said, mp_error *err) {
    static const struct {
        const char *name, *expected;
        json_type type;
    } members[] = {
        {"contract", "a text", JSON_STRING},
        {"contract_fields", "a text", JSON_STRING},
        {"exposes", "a list of names", JSON_ARRAY},
        {"workspace_bytes", "a list of numbers", JSON_ARRAY},
        {"host_bytes", "a whole number", JSON_INTEGER},
        {"device_bytes", "a whole number", JSON_INTEGER},
        {"weaker", "a text", JSON_STRING},
        {"block_size_m", "a whole number", JSON_INTEGER},
    };
    const char *wrong = are_workspaces(json_object_get(said, "workspace_bytes")) ? NULL : "workspace_bytes",
               *expected = "a list of numbers";
    for (size_t i = 0; i < sizeof members / sizeof *members && !wrong; i++) {
        const json_t *value = json_object_get(said, members[i].name);
        const json_int_t number = json_integer_value(value); /* 0 of what is none */
        const bool typed = !value || json_is_null(value) || json_typeof(value) == members[i].type;
        if (typed && number >= 0 && number <= INT64_MAX / 2) continue;
        wrong = members[i].name;
        expected = members[i].expected;
    }
    if (!wrong) return MP_OK;
    return mp_fail(err, MP_EDEVICE, "the subject describes itself wrongly: %s: expected %s", wrong, expected);
}

static size_t bytes_of(const json_t *json) {
    const json_int_t bytes = json_integer_value(json);
    return bytes > 0 ? (size_t)bytes : 0;
}

/* What it says itself, and what copies make of the checks. */
static void tell_weaker(const program *p, const json_t *said, mp_offer *offer) {
    const char *own = json_string_value(json_object_get(said, "weaker"));
    mp_text text = {0};
    if (own) mp_text_add(&text, "%s", own);
    if (p->copies)
        mp_text_add(&text, "%sguard, poison and input see the copies of tensors on the host alone (%s)",
                    text.length ? "; " : "", p->reason);
    mp_text_fit(offer->weaker, sizeof offer->weaker, "%s", mp_text_get(&text));
    mp_text_free(&text);
}

/* The words of a list, separated by blanks; NULL where there is no list. */
static const char *words_of(const json_t *list, mp_text *words) {
    const json_t *word;
    size_t i;
    json_array_foreach(list, i, word)
        mp_text_add(words, "%s%s", i ? " " : "", json_is_string(word) ? json_string_value(word) : "?");
    return json_is_array(list) ? mp_text_get(words) : NULL;
}

static mp_status program_describe(mp_subject *s, const mp_case *c, mp_offer *offer, mp_error *err) {
    program *p = s->self;
    json_t *said;
    mp_text exposes = {0};
    mp_status status = mp_foreign_knows(mp_text_get(&p->takes), c, p->title, err);
    if (status != MP_OK) return status;
    status = mp_talk_ask(&p->talk, "describe", case_to_json(c), "offer", &said, err);
    status = not_of_the_run(status, err);
    if (status != MP_OK) return status;
    if ((status = check_offer(said, err)) != MP_OK) {
        json_decref(said);
        return status;
    }
    const json_t *workspace = json_object_get(said, "workspace_bytes");
    const json_int_t block = json_integer_value(json_object_get(said, "block_size_m"));
    const mp_foreign_words words = {
        json_string_value(json_object_get(said, "contract")),
        json_string_value(json_object_get(said, "contract_fields")),
        words_of(json_object_get(said, "exposes"), &exposes),
        block > INT_MAX ? INT_MAX : (int)block,
    };
    for (size_t i = 0; i < MP_WORKSPACES; i++)
        offer->workspace_bytes[i] = bytes_of(json_array_get(workspace, i));
    status = mp_foreign_offer(&words, c, &s->query, offer, err);
    tell_weaker(p, said, offer);
    offer->host_bytes = bytes_of(json_object_get(said, "host_bytes"));
    if (!p->cuda) offer->host_bytes += mp_surroundings_device_bytes(s, c, offer); /* memory of their own */
    if (status == MP_OK && p->cuda)
        status = mp_foreign_device(p->cuda, bytes_of(json_object_get(said, "device_bytes")), offer, err);
    mp_text_free(&exposes);
    json_decref(said);
    return status;
}

/* ---- a run ---- */

/* Where a buffer of `bytes` lies for the program: offset, bytes, and on the device the handle of what it lies
 * in. */
static json_t *place_to_json(const program *p, const void *data, size_t bytes, mp_error *err) {
    char hex[2 * MP_CUDA_HANDLE_BYTES + 1];
    mp_cuda_handle handle;
    size_t offset;
    if (!p->cuda)
        return json_pack("{s:I, s:I}", "offset", (json_int_t)mp_shared_space_offset(&p->memory, data),
                         "bytes", (json_int_t)bytes);
    if (mp_cuda_share(p->cuda, data, &handle, &offset, err) != MP_OK) return NULL;
    to_hex(handle.bytes, sizeof handle.bytes, hex);
    return json_pack("{s:s, s:I, s:I}", "cuda_ipc", hex, "offset", (json_int_t)offset, "bytes",
                     (json_int_t)bytes);
}

static json_t *tensor_to_json(const program *p, const mp_case *c, const mp_tensor *t, mp_tensor_id id,
                              bool is_output, mp_error *err) {
    const mp_placement at = mp_case_placement(c, id, t);
    json_t *place = place_to_json(p, t->data, at.bytes - at.first, err), *shape = json_array(),
           *stride = json_array();
    for (int d = 0; d < t->rank; d++) {
        json_array_append_new(shape, json_integer(at.dim[d]));
        json_array_append_new(stride, json_integer(at.stride[d]));
    }
    json_t *json =
        json_pack("{s:s, s:s, s:o, s:o, s:b}", "name", mp_tensor_name(id), "dtype", mp_dtype_name(t->dtype),
                  "shape", shape, "stride", stride, "is_output", (int)is_output);
    if (place) json_object_update(json, place);
    json_decref(place);
    return json;
}

/* *request is to be freed with json_decref. */
static mp_status run_to_json(const program *p, const mp_execution *e, json_t **request, mp_error *err) {
    const mp_tensor_set outputs = mp_case_possible_outputs(e->c);
    const mp_config *config = &e->offer->config;
    json_t *tensors = json_array(), *workspace = json_array();
    char up[64], down[64];
    mp_error why = {0};
    mp_tile_text(&config->up, up);
    mp_tile_text(&config->down, down);
    for (int id = 0; id < MP_TENSOR_COUNT; id++)
        if (e->t[id].data)
            json_array_append_new(
                tensors, tensor_to_json(p, e->c, &e->t[id], (mp_tensor_id)id, outputs & MP_IN_SET(id), &why));
    for (int i = 0; i < MP_WORKSPACES; i++)
        if (e->workspace[i])
            json_array_append_new(workspace,
                                  place_to_json(p, e->workspace[i], e->offer->workspace_bytes[i], &why));
    *request = json_pack("{s:o, s:o, s:o, s:I, s:i, s:s, s:s}", "case", case_to_json(e->c), "tensors",
                         tensors, "workspace", workspace, "memory_bytes", (json_int_t)p->memory.bytes,
                         "block_size_m", config->up.block_size_m, "tile", up, "tile_down", down);
    return why.status == MP_OK ? MP_OK : mp_fail(err, why.status, "%s", why.text);
}

/* Which outputs were left: of a case always the same, and of those exposed. */
static mp_status take_left(program *p, const json_t *said, const mp_execution *e, mp_error *err) {
    const json_t *word;
    size_t i;
    mp_tensor_set left = said ? 0 : e->offer->exposes;
    if (said && !json_is_array(said)) return mp_fail(err, MP_EDEVICE, "left: expected a list of names");
    json_array_foreach(said, i, word) {
        const char *name = json_is_string(word) ? json_string_value(word) : "?";
        int id = 0;
        while (id < MP_TENSOR_COUNT && strcmp(mp_tensor_name((mp_tensor_id)id), name) != 0) id++;
        if (id == MP_TENSOR_COUNT || !(e->offer->exposes & MP_IN_SET(id)))
            return mp_fail(err, MP_EDEVICE, "left: '%s' is no output that the subject exposes", name);
        left |= MP_IN_SET(id);
    }
    if (!left) return mp_fail(err, MP_EDEVICE, "left: no output was left");
    if (e->c->mode == MP_MODE_INPLACE && !(left & MP_IN_SET(MP_OUT)))
        return mp_fail(err, MP_EDEVICE, "left: expected out among them, which is x in place");
    if (p->left && left != p->left && mp_case_compare(&p->left_case, e->c) == 0)
        return mp_fail(err, MP_EDEVICE, "left: other outputs than in the run before");
    p->left = left;
    p->left_case = *e->c;
    if (e->left) *e->left = left;
    return MP_OK;
}

/* Bytes of the device that it holds in reserve; 0 where it does not tell. */
static mp_status take_cached(const json_t *told, size_t *cached, mp_error *err) {
    if (told && (!json_is_integer(told) || json_integer_value(told) < 0))
        return mp_fail(err, MP_EDEVICE, "device_cached: expected a number of bytes");
    *cached = (size_t)json_integer_value(told);
    return MP_OK;
}

static mp_status program_run(mp_subject *s, const mp_execution *e, mp_error *err) {
    program *p = s->self;
    json_t *request = NULL, *done = NULL;
    mp_status status = run_to_json(p, e, &request, err);
    if (status == MP_OK && p->cuda) status = mp_leaks_begin(&p->leaks, p->cuda, err);
    if (status == MP_OK)
        status = mp_talk_ask(&p->talk, "run", request, "done", &done, err);
    else
        json_decref(request);
    status = not_of_the_run(status, err);
    if (status != MP_OK) return status;
    const json_t *times = json_object_get(done, "stage_ns");
    for (int i = 0; i < MP_STAGE_COUNT; i++)
        e->stage_ns[i] += json_number_value(json_object_get(times, mp_stage_name((mp_stage)i)));
    status = take_left(p, json_object_get(done, "left"), e, err);
    size_t cached = 0;
    if (status == MP_OK) status = take_cached(json_object_get(done, "device_cached"), &cached, err);
    json_decref(done);
    return status == MP_OK && p->cuda ? mp_leaks_end(&p->leaks, p->cuda, cached, p->title, err) : status;
}

static void program_close(mp_subject *s) {
    program *p = s->self;
    mp_talk_end(&p->talk);
    mp_shared_space_close(&p->memory);
    mp_cuda_close(p->cuda);
    mp_text_free(&p->takes);
    free(p->name);
    free(p);
}

/* ---- opening ---- */

static mp_status start(program *p, mp_error *err) {
    const char *command = p->name + strlen(MP_PROGRAM_PREFIX);
    char variable[64];
    wordexp_t words;
    snprintf(variable, sizeof variable, MP_PROGRAM_VARIABLE "=%d", MP_PROGRAM_PROTOCOL);
    if (wordexp(command, &words, WRDE_NOCMD) != 0)
        return mp_fail(err, MP_EINPUT, "%s: expected worker:COMMAND, quoted as for a shell", p->name);
    mp_status status = words.we_wordc > 0 ? mp_shared_space_open(&p->memory, err)
                                          : mp_fail(err, MP_EINPUT, "%s: expected worker:COMMAND", p->name);
    if (status == MP_OK)
        status =
            mp_talk_start(&p->talk, (const char *const *)words.we_wordv, variable, p->memory.descriptor, err);
    wordfree(&words);
    return status;
}

/* Has the program read what stands in a buffer on the device: *shared, or p->reason says why not. */
static mp_status try_sharing(program *p, bool *shared, mp_error *err) {
    enum { BYTES = 64, READ = 8 };
    const mp_space *space = mp_cuda_space(p->cuda);
    unsigned char content[BYTES];
    char hex[2 * READ + 1];
    json_t *answer = NULL;
    mp_error why = {0};
    void *data = NULL;
    const unsigned pid = (unsigned)getpid();
    for (unsigned i = 0; i < BYTES; i++) content[i] = (unsigned char)(0x9E3779B9u * (pid + i) >> 24);
    to_hex(content, READ, hex);
    *shared = false;
    mp_status status = space->alloc(space->self, BYTES, MP_POISON_A, &data, err);
    if (status == MP_OK) status = space->write(space->self, data, content, BYTES, err);
    json_t *place = status == MP_OK ? place_to_json(p, data, BYTES, &why) : NULL;
    if (place) status = mp_talk_ask(&p->talk, "memory", place, "memory", &answer, err);
    if (status == MP_OK) {
        const char *read = json_string_value(json_object_get(answer, "content")),
                   *said = json_string_value(json_object_get(answer, "why"));
        *shared = read && strcmp(read, hex) == 0;
        mp_text_fit(p->reason, sizeof p->reason, "%s",
                    !place ? why.text
                    : read ? "the program does not see this process's device memory"
                    : said ? said
                           : "the program gave no reason");
    }
    json_decref(answer);
    space->free(space->self, data);
    return status;
}

/* Where its tensors lie: as it asks for, or else on the host. */
static mp_status find_space(program *p, mp_subject *s, const char *device, mp_error *err) {
    const char *no_ipc = getenv(MP_NO_CUDA_IPC);
    bool shared = false;
    if (!device || strcmp(device, "host") == 0) return MP_OK;
    if (strcmp(device, "cuda") != 0)
        return mp_fail(err, MP_EINPUT, "%s works on '%s': expected host or cuda", p->name, device);
    mp_status status = mp_cuda_open_memory(&p->cuda, err);
    if (status != MP_OK) return status;
    snprintf(s->device, sizeof s->device, "%s", mp_cuda_device_name(p->cuda));
    mp_text_fit(s->versions, sizeof s->versions, "%s, %s", s->versions, mp_cuda_versions(p->cuda));
    if (no_ipc && *no_ipc && strcmp(no_ipc, "0") != 0)
        mp_text_fit(p->reason, sizeof p->reason, MP_NO_CUDA_IPC "=%s", no_ipc);
    else
        status = try_sharing(p, &shared, err);
    p->copies = !shared;
    if (shared) {
        s->space = mp_cuda_space(p->cuda);
    } else {
        mp_cuda_close(p->cuda);
        p->cuda = NULL;
    }
    return status;
}

static mp_status greet(program *p, mp_subject *s, mp_error *err) {
    json_t *hello;
    mp_status status = mp_talk_ask(&p->talk, "hello", json_pack("{s:i}", "protocol", MP_PROGRAM_PROTOCOL),
                                   "hello", &hello, err);
    if (status != MP_OK) return status;
    const json_int_t protocol = json_integer_value(json_object_get(hello, "protocol"));
    const char *name = json_string_value(json_object_get(hello, "name")),
               *told = json_string_value(json_object_get(hello, "version")), *version = told ? told : "";
    mp_text_fit(p->title, sizeof p->title, "%s", name ? name : "");
    mp_text_fit(s->versions, sizeof s->versions, "%s%s%s", p->title, version[0] ? " " : "", version);
    words_of(json_object_get(hello, "takes"), &p->takes);
    if (protocol != MP_PROGRAM_PROTOCOL)
        status = mp_fail(err, MP_EINPUT, "%s speaks protocol %lld of subjects; this program speaks %d",
                         p->name, (long long)protocol, MP_PROGRAM_PROTOCOL);
    else if (!p->title[0])
        status = mp_fail(err, MP_EINPUT, "%s gave no name", p->name);
    else
        status = find_space(p, s, json_string_value(json_object_get(hello, "device")), err);
    json_decref(hello);
    return status;
}

mp_status mp_program_open(const char *name, mp_subject *s, mp_error *err) {
    program *p = calloc(1, sizeof *p);
    if (p) p->name = strdup(name);
    if (!p || !p->name) {
        free(p);
        return mp_fail(err, MP_EMEMORY, "no memory for a subject");
    }
    p->memory.descriptor = -1;
    p->talk = MP_TALK_NONE;
    *s = (mp_subject){.name = p->name,
                      .self = p,
                      .space = &p->memory.space,
                      .describe = program_describe,
                      .run = program_run,
                      .close = program_close};
    mp_status status = start(p, err);
    if (status == MP_OK) status = greet(p, s, err);
    if (status != MP_OK) mp_subject_close(s);
    return status;
}
