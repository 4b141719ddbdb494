/* SPDX-License-Identifier: Apache-2.0 */
/* harness/run/devices: which GPUs a line names, and what a worker of each gets to see. */
#include "harness/run/devices.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void expect(const char *text, int there, const char *visible, const char *expected) {
    mp_devices devices;
    mp_error err = {0};
    char got[2000] = "";
    if (mp_devices_read(text, there, visible, &devices, &err) != MP_OK)
        fail_msg("%s of %d: %s", text, there, err.text);
    for (int i = 0; i < devices.count; i++)
        snprintf(got + strlen(got), sizeof got - strlen(got), "%s:%s ", devices.device[i].name,
                 devices.device[i].visible + strlen("CUDA_VISIBLE_DEVICES="));
    assert_string_equal(got, expected);
}

static void devices_are_parts_of_what_is_visible(void **state) {
    (void)state;
    expect(NULL, 0, NULL, "");
    expect("0", 1, NULL, "0:0 ");
    expect("1,0", 2, NULL, "1:1 0:0 ");
    expect("all", 3, NULL, "0:0 1:1 2:2 ");
    expect("all", 2, "GPU-a,GPU-b", "0:GPU-a 1:GPU-b ");
    expect("1", 2, "5,3", "1:3 ");
    expect("1", 2, "MIG-GPU-8f6d2b2c/1/0,MIG-GPU-8f6d2b2c/2/0", "1:MIG-GPU-8f6d2b2c/2/0 ");
}

static void refuse(const char *text, int there, const char *visible, const char *part) {
    mp_devices devices;
    mp_error err = {0};
    assert_int_equal(mp_devices_read(text, there, visible, &devices, &err), MP_EINPUT);
    if (!strstr(err.text, part)) fail_msg("%s of %d: %s", text, there, err.text);
}

static void what_names_no_device(void **state) {
    (void)state;
    static const char *const texts[] = {"",  ",",   "0,",  ",0",  "0,,1",  "-1",
                                        "a", "0;1", "0 1", "All", "10000", "0x1"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        refuse(texts[i], 2, NULL, "expected the numbers of devices, as 0,1, or all");
    refuse("2", 2, NULL, "there is no device 2: this machine has 2, from 0 on");
    refuse("0", 0, NULL, "there is no device 0: this machine has 0");
    refuse("all", 0, NULL, "there is no device on this machine");
    refuse("0,1,0", 2, NULL, "0 is named twice");
    refuse("1", 2, "GPU-a", "CUDA_VISIBLE_DEVICES=GPU-a: expected device 1 in it");
    char long_name[300];
    memset(long_name, 'x', sizeof long_name - 1);
    long_name[sizeof long_name - 1] = '\0';
    refuse("0", 1, long_name, "a name of 299 characters: expected at most");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(devices_are_parts_of_what_is_visible),
        cmocka_unit_test(what_names_no_device),
    };
    return cmocka_run_group_tests_name("devices", tests, NULL, NULL);
}
