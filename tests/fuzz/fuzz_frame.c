/* SPDX-License-Identifier: Apache-2.0 */
/* What a worker is sent: bytes become messages, or the channel says why not; messages become orders and rows,
 * or are refused with a reason; and an order that was taken is the same when it goes round once more. */
#include "fuzz/fuzz.h"

#include "harness/frame.h"
#include "harness/run/infer_run.h"
#include "harness/run/message.h"
#include "harness/run/settings.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static void require_same(const mp_settings *a, const mp_settings *b, const mp_error *err) {
    for (int i = 0; i < mp_setting_count; i++) {
        const mp_setting *row = &mp_setting_rows[i];
        const char *first = mp_setting_text(a, row), *second = mp_setting_text(b, row);
        fuzz_require(!first == !second && (!first || strcmp(first, second) == 0), "the same text", err);
        fuzz_require(mp_setting_number(a, row) == mp_setting_number(b, row), "the same number", err);
    }
}

static void take_open(const json_t *open) {
    static mp_order order, again;
    mp_error err = {0};
    const mp_status status = mp_json_to_order(open, &order, &err);
    fuzz_require_told(status, &err);
    if (status == MP_OK) {
        json_t *json = mp_json_open(&order.options, &order.matrix, 0, order.check_golden);
        fuzz_require(json != NULL, "an order becomes JSON", &err);
        fuzz_require(mp_json_to_order(json_object_get(json, "open"), &again, &err) == MP_OK,
                     "that is an order", &err);
        require_same(&order.options.settings, &again.options.settings, &err);
        fuzz_require(order.matrix.count == again.matrix.count, "the same rows", &err);
        mp_order_free(&again);
        json_decref(json);
    }
    mp_order_free(&order);
}

static void take(const json_t *message) {
    mp_error err = {0};
    mp_matrix m = {0};
    mp_run_info info;
    const json_t *open = json_object_get(message, "open"), *run = json_object_get(message, "run"),
                 *hello = json_object_get(message, "hello"), *failed = json_object_get(message, "failed");
    if (open) take_open(open);
    if (run) fuzz_require_told(mp_json_to_row(run, &m, &err), &err);
    mp_infer_options options;
    const json_t *infer = json_object_get(message, "infer");
    if (infer) fuzz_require_told(mp_json_to_infer(infer, &options, &err), &err);
    mp_run_info_init(&info);
    if (hello) fuzz_require_told(mp_json_to_hello(hello, &info, &err), &err);
    if (failed)
        fuzz_require(mp_json_to_failed(failed, &err) != MP_OK && err.text[0], "a failure has a text", &err);
    mp_run_info_free(&info);
    mp_matrix_free(&m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    mp_error err = {0};
    mp_channel channel = {.in = memfd_create("fuzz", 0), .out = -1};
    json_t *message = NULL;
    if (channel.in < 0 || write(channel.in, data, size) != (ssize_t)size) abort();
    lseek(channel.in, 0, SEEK_SET);
    mp_status status = MP_OK;
    while (status == MP_OK) {
        status = mp_channel_next(&channel, &message, &err);
        fuzz_require_told(status, &err);
        if (message) take(message);
        if (status == MP_OK && !message && !mp_channel_receive(&channel)) break;
        json_decref(message);
    }
    close(channel.in);
    mp_channel_free(&channel);
    return 0;
}
