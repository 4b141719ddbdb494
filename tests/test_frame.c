/* SPDX-License-Identifier: Apache-2.0 */
/* harness/run/frame.c: what is pushed at one end comes out at the other, however the bytes are cut; what is
 * no message is an error. harness/run/message.c: rows, orders and failures come back as they were. */
#include "cases/case_tools.h"
#include "harness/frame.h"
#include "harness/run/message.h"
#include "harness/run/settings.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static mp_error err;

/* A pipe into which a channel writes without waiting, and one that reads from it. */
static void connect_channels(mp_channel *from, mp_channel *to) {
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    for (int i = 0; i < 2; i++) assert_int_equal(fcntl(ends[i], F_SETFL, O_NONBLOCK), 0);
    *from = (mp_channel){.in = -1, .out = ends[1]};
    *to = (mp_channel){.in = ends[0], .out = -1};
}

static void disconnect(mp_channel *from, mp_channel *to) {
    close(from->out);
    close(to->in);
    mp_channel_free(from);
    mp_channel_free(to);
}

/* A text of so many characters, the same for the same number. */
static json_t *message_of(size_t size) {
    char *text = malloc(size + 1);
    assert_non_null(text);
    for (size_t i = 0; i < size; i++) text[i] = (char)('a' + (i * 7 + size) % 26);
    text[size] = '\0';
    json_t *message = json_pack("{s:s}", "text", text);
    free(text);
    return message;
}

/* Sizes around those of the pipe and of one read, all on their way at once. */
static void messages_come_out_as_they_went_in(void **state) {
    (void)state;
    static const size_t sizes[] = {0, 1, 65535, 3, 65536, 65537 - 15, 1 << 20, 2, 300000, 0};
    enum { COUNT = sizeof sizes / sizeof *sizes };
    mp_channel from, to;
    connect_channels(&from, &to);
    for (size_t i = 0; i < COUNT; i++)
        assert_int_equal(mp_channel_push(&from, message_of(sizes[i]), &err), MP_OK);
    for (size_t came = 0; came < COUNT;) {
        json_t *message = NULL, *sent;
        assert_true(mp_channel_flush(&from));
        assert_true(mp_channel_receive(&to));
        assert_int_equal(mp_channel_next(&to, &message, &err), MP_OK);
        if (!message) continue;
        sent = message_of(sizes[came++]);
        assert_true(json_equal(message, sent));
        json_decref(sent);
        json_decref(message);
    }
    assert_false(mp_channel_waiting(&from));
    close(from.out);
    assert_false(mp_channel_receive(&to)); /* the end */
    from.out = dup(to.in);
    disconnect(&from, &to);
}

/* Byte by byte: nothing comes before the last one. */
static void a_message_is_whole_or_not_there(void **state) {
    (void)state;
    static const char bytes[] = "\015\0\0\0{\"a\": [1, 2]}";
    mp_channel from, to;
    json_t *message = NULL;
    connect_channels(&from, &to);
    for (size_t i = 0; i + 1 < sizeof bytes; i++) {
        assert_null(message);
        assert_int_equal(write(from.out, bytes + i, 1), 1);
        assert_true(mp_channel_receive(&to));
        assert_int_equal(mp_channel_next(&to, &message, &err), MP_OK);
    }
    assert_non_null(message);
    assert_int_equal(json_integer_value(json_array_get(json_object_get(message, "a"), 1)), 2);
    json_decref(message);
    disconnect(&from, &to);
}

static void what_is_no_message_is_an_error(void **state) {
    (void)state;
    static const struct {
        const char *bytes;
        size_t size;
        const char *message;
    } bad[] = {{"\377\377\377\377", 4, "a message of 4294967295 bytes came; expected at most 268435456"},
               {"\1\0\0\20", 4, "a message of 268435457 bytes came"},
               {"\2\0\0\0{,", 6, "a message that is no JSON came"},
               {"\0\0\0\0", 4, "a message that is no JSON came"},
               {"\4\0\0\0\"\377\"", 7, NULL}}; /* not there as a whole */
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        mp_channel from, to;
        json_t *message = NULL;
        connect_channels(&from, &to);
        assert_int_equal(write(from.out, bad[i].bytes, bad[i].size), bad[i].size);
        assert_true(mp_channel_receive(&to));
        assert_int_equal(mp_channel_next(&to, &message, &err), bad[i].message ? MP_EINPUT : MP_OK);
        assert_null(message);
        if (bad[i].message && !strstr(err.text, bad[i].message)) fail_msg("%s", err.text);
        disconnect(&from, &to);
    }
}

static void a_peer_that_is_gone_is_noticed(void **state) {
    (void)state;
    mp_channel from, to;
    connect_channels(&from, &to);
    signal(SIGPIPE, SIG_IGN);
    close(to.in);
    assert_int_equal(mp_channel_push(&from, message_of(9), &err), MP_OK);
    assert_false(mp_channel_flush(&from));
    to.in = dup(from.out);
    disconnect(&from, &to);
}

/* ---- what the messages say ---- */

static void rows_come_back(void **state) {
    (void)state;
    static const char *const pairs[] = {"path=runner", "layout=sorted", "mode=inplace"};
    mp_matrix sent = {0}, back = {0};
    assert_int_equal(mp_matrix_add(&sent,
                                   "M=7 topk=3 rsf=0.1 filter=0.30000000000000004 seed=9007199254740993",
                                   pairs, 3, &err),
                     MP_OK);
    json_t *json = mp_json_row(&sent.rows[0]);
    assert_int_equal(mp_json_to_row(json, &back, &err), MP_OK);
    assert_int_equal(back.count, 1);
    assert_int_equal(mp_case_compare(&sent.rows[0].c, &back.rows[0].c), 0);
    assert_int_equal(back.rows[0].pair_count, 3);
    for (size_t i = 0; i < 3; i++) {
        assert_string_equal(back.rows[0].pair_text[i], sent.rows[0].pair_text[i]);
        assert_int_equal(mp_case_compare(&sent.rows[0].pairs[i], &back.rows[0].pairs[i]), 0);
    }
    assert_string_equal(back.rows[0].group, sent.rows[0].group);
    json_decref(json);
    mp_matrix_free(&sent);
    mp_matrix_free(&back);
}

static void orders_come_back(void **state) {
    (void)state;
    mp_matrix matrix = {0};
    char texts[32][16];
    assert_true(mp_setting_count <= 32);
    for (int i = 0; i < 32; i++) snprintf(texts[i], sizeof texts[i], "caf\xe9 %d", i);
    for (int i = 0; i < 3; i++) {
        char text[64];
        snprintf(text, sizeof text, "M=%d", i + 1);
        assert_int_equal(mp_matrix_add(&matrix, text, NULL, 0, &err), MP_OK);
    }
    const mp_record_options record = {
        .path = "r.h5", .digest_above = 17, .inputs = true, .who = {.version = "1", .device = "cpu"}};
    mp_suite_options sent = {.record = &record};
    assert_int_equal(mp_settings_check(&sent.settings, &err), MP_EINPUT); /* the one that is no usual */
    for (int i = 0; i < mp_setting_count; i++) /* each another one; the texts are not UTF-8 */
        mp_setting_set(&sent.settings, &mp_setting_rows[i], texts[i],
                       mp_setting_rows[i].kind == MP_SETTING_FLAG ? 1 : 3 + i);
    sent.settings.timeout = 2.5;
    sent.settings.edit = NULL;    /* never beside a golden */
    sent.settings.engine = "cpu"; /* one of few words, and device goes without plain */
    json_t *json = mp_json_open(&sent, &matrix, 1, true);
    mp_order *order = calloc(1, sizeof *order);
    assert_non_null(order);
    err = (mp_error){0};
    if (mp_json_to_order(json_object_get(json, "open"), order, &err) != MP_OK) fail_msg("%s", err.text);
    const mp_suite_options *o = &order->options;
    for (int i = 0; i < mp_setting_count; i++) {
        const mp_setting *row = &mp_setting_rows[i];
        const char *text = mp_setting_text(&o->settings, row), *told = mp_setting_text(&sent.settings, row);
        if (told) assert_string_equal(text, told);
        if (!told) assert_null(text);
        if (row->kind != MP_SETTING_TEXT)
            assert_true(mp_setting_number(&o->settings, row) == mp_setting_number(&sent.settings, row));
    }
    assert_true(order->check_golden && o->settings.timeout == 2.5 && o->settings.strict);
    assert_string_equal(o->record->path, "r.h5");
    assert_int_equal(o->record->digest_above, 17);
    assert_true(o->record->inputs);
    assert_string_equal(o->record->who.version, "1");
    assert_string_equal(o->record->who.device, "cpu");
    assert_int_equal(order->matrix.count, 2);
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(mp_case_compare(&order->matrix.rows[i].c, &matrix.rows[i + 1].c), 0);
    json_object_set_new(json_object_get(json, "open"), "protocol", json_integer(9));
    mp_order_free(order);
    assert_int_equal(mp_json_to_order(json_object_get(json, "open"), order, &err), MP_EINPUT);
    assert_non_null(strstr(err.text, "protocol 9: this worker speaks version 1"));
    json_decref(json);
    mp_matrix_free(&matrix);
    mp_order_free(order);
    free(order);
}

/* What is of another type is refused by its name, never taken for the usual. */
static void orders_of_wrong_types_are_refused(void **state) {
    (void)state;
    static const char *const wrong[][2] = {
        {"\"strict\": \"true\"", "strict: expected true or false"},
        {"\"strict\": []", "strict: expected true or false"},
        {"\"plain\": 1", "plain: expected true or false"},
        {"\"repeat\": \"5\"", "repeat: expected a whole number from 0"},
        {"\"repeat\": true", "repeat: expected a whole number from 0"},
        {"\"repeat\": 3.7", "repeat: expected a whole number from 0"},
        {"\"repeat\": -1", "repeat: expected a whole number from 0"},
        {"\"jobs\": 3000000000", "jobs: expected a whole number from 0"},
        {"\"timeout\": false", "timeout: expected a number from 0"},
        {"\"timeout\": -0.5", "timeout: expected a number from 0"},
        {"\"triton\": 3.6", "triton: expected a text, or a list of bytes"},
        {"\"golden\": [103, 0, 65]", "golden: byte 1 of it is 0; expected 1 to 255"},
        {"\"golden\": [103, -1]", "golden: byte 1 of it is -1; expected 1 to 255"},
        {"\"golden_required\": true", "golden_required without a golden"},
        {"\"golden_partial\": true", "golden_partial without a golden"},
        {"\"subject\": null", "no subject was named"},
    };
    mp_order *order = calloc(1, sizeof *order);
    assert_non_null(order);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        char text[200];
        const bool subject = strstr(wrong[i][0], "subject") != NULL;
        snprintf(text, sizeof text, "{\"protocol\": 1, %s%s}", subject ? "" : "\"subject\": \"host\", ",
                 wrong[i][0]);
        json_t *json = json_loads(text, 0, NULL);
        assert_non_null(json);
        assert_int_equal(mp_json_to_order(json, order, &err), MP_EINPUT);
        if (!strstr(err.text, wrong[i][1])) fail_msg("%s: %s", text, err.text);
        mp_order_free(order);
        json_decref(json);
    }
    free(order);
}

static void failures_come_back(void **state) {
    (void)state;
    for (mp_status s = MP_EINPUT; s <= MP_EINTERNAL; s++) {
        mp_error back = {0};
        const mp_error sent = {.status = s, .text = "caf\xe9"};
        json_t *json = mp_json_failed(&sent);
        assert_int_equal(mp_json_to_failed(json_object_get(json, "failed"), &back), s);
        assert_int_equal(back.status, s);
        assert_string_equal(back.text, "caf\\xe9");
        json_decref(json);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_come_out_as_they_went_in),
        cmocka_unit_test(a_message_is_whole_or_not_there),
        cmocka_unit_test(what_is_no_message_is_an_error),
        cmocka_unit_test(a_peer_that_is_gone_is_noticed),
        cmocka_unit_test(rows_come_back),
        cmocka_unit_test(orders_come_back),
        cmocka_unit_test(orders_of_wrong_types_are_refused),
        cmocka_unit_test(failures_come_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
