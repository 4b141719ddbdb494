/* SPDX-License-Identifier: Apache-2.0 */
/* base/printable.c: nothing that a terminal obeys is left, and everything else is as it was. */
#include "base/printable.h"

#include <iconv.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void assert_printable(const char *text, const char *expected) {
    char out[256];
    assert_int_equal(mp_text_printable(text, out, sizeof out), strlen(expected));
    assert_string_equal(out, expected);
}

static void texts_by_example(void **state) {
    (void)state;
    assert_printable("", "");
    assert_printable("M=32 topk=2 act=silu", "M=32 topk=2 act=silu");
    assert_printable("C:\\temp \\x1b", "C:\\temp \\x1b");
    assert_printable("gr\xc3\xb6\xc3\x9f"
                     "e \xe6\xbc\xa2 \xf0\x9f\x92\xa1",
                     "gr\xc3\xb6\xc3\x9f"
                     "e \xe6\xbc\xa2 \xf0\x9f\x92\xa1");
    assert_printable("a\nb\rc\td", "a\\nb\\rc\\td");
    assert_printable("\x1b[31mred\x1b]0;title\x07", "\\x1b[31mred\\x1b]0;title\\x07");
    assert_printable("\x7f", "\\x7f");
    assert_printable("\xc2\x9b"
                     "31m",
                     "\\xc2\\x9b31m"); /* CSI as one character */
    assert_printable("\xe2\x80\xae"
                     "drow",
                     "\\xe2\\x80\\xaedrow"); /* right to left from here on */
    assert_printable("\xff\xfe", "\\xff\\xfe");
    assert_printable("\xe2\x82", "\\xe2\\x82"); /* ends within a character */
}

/* glibc as the judge of what UTF-8 is: all texts of two bytes, and many of four. */
static bool is_utf8(const char *text, uint32_t code[4], size_t *characters) {
    iconv_t converter = iconv_open("UCS-4LE", "UTF-8");
    char *in = (char *)text, *out = (char *)code;
    size_t left = strlen(text), room = 4 * sizeof *code;
    assert_true(converter != (iconv_t)-1);
    const bool good = iconv(converter, &in, &left, &out, &room) != (size_t)-1 && left == 0;
    iconv_close(converter);
    *characters = 4 - room / sizeof *code;
    return good;
}

static void check_against_iconv(const char *text) {
    char out[64], again[64];
    uint32_t code[4];
    size_t characters = 0;
    bool plain = is_utf8(text, code, &characters);
    for (size_t i = 0; plain && i < characters; i++)
        plain = code[i] >= 0x20 && code[i] <= 0x10ffff && !(code[i] >= 0x7f && code[i] < 0xa0) &&
                code[i] != 0x61c && !(code[i] >= 0x200e && code[i] <= 0x200f) &&
                !(code[i] >= 0x2028 && code[i] <= 0x202e) && !(code[i] >= 0x2066 && code[i] <= 0x2069);
    mp_text_printable(text, out, sizeof out);
    if ((strcmp(text, out) == 0) != plain) fail_msg("'%s' became '%s'", text, out);
    assert_true(is_utf8(out, (uint32_t[4]){0}, &characters) || strlen(out) > 4); /* no room for longer ones */
    for (const char *p = out; *p; p++) assert_true((unsigned char)*p >= 0x20 && *p != 0x7f);
    mp_text_printable(out, again, sizeof again);
    assert_string_equal(again, out); /* twice is once */
}

static void every_byte_beside_every_other(void **state) {
    (void)state;
    for (int a = 1; a < 256; a++)
        for (int b = 0; b < 256; b++) check_against_iconv((char[3]){(char)a, (char)b});
    uint32_t x = 1;
    for (int i = 0; i < 200000; i++) { /* lead bytes and continuations, in likely and unlikely orders */
        char text[5] = "";
        for (int k = 0; k < 4; k++) {
            x = x * 1664525 + 1013904223;
            const int byte = (x >> 28) < 10 ? 0x80 + (int)(x >> 20 & 0x3f) : 0xc0 + (int)(x >> 20 & 0x3f);
            text[k] = (char)byte;
        }
        check_against_iconv(text);
    }
}

/* Whatever room there is, what is left is the beginning of the whole and three dots. */
static void long_texts_end_in_dots(void **state) {
    (void)state;
    const char *text = "ab\x1b"
                       "c\xe6\xbc\xa2"
                       "d\n\xf0\x9f\x92\xa1"
                       "ef\xff";
    char whole[64], out[64];
    const size_t length = mp_text_printable(text, whole, sizeof whole);
    for (size_t size = 1; size <= length + 1; size++) {
        memset(out, '#', sizeof out);
        const size_t used = mp_text_printable(text, out, size);
        assert_true(used < size && out[used] == '\0' && out[size] == '#');
        if (size == length + 1) {
            assert_string_equal(out, whole);
        } else if (size > 4) {
            assert_string_equal(out + used - 3, "...");
            assert_memory_equal(out, whole, used - 3);
            const char next = whole[used - 3];
            assert_true(used + 10 > size); /* no more is dropped than an escape or a character */
            assert_true((next & 0xc0) != 0x80);
            for (size_t back = 1; back < 4 && back + 3 <= used; back++)
                assert_true(whole[used - 3 - back] != '\\' ||
                            back == (whole[used - 2 - back] == 'x' ? 4 : 2));
        }
    }
    assert_int_equal(mp_text_printable(text, out, 0), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_by_example),
        cmocka_unit_test(every_byte_beside_every_other),
        cmocka_unit_test(long_texts_end_in_dots),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
