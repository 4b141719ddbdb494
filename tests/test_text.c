/* SPDX-License-Identifier: Apache-2.0 */
/* base/text.c: texts grow without limit, words reach a shell unharmed, UTF-8 is what RFC 3629 says. */
#include "base/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void it_grows(void **state) {
    (void)state;
    mp_text t = {0};
    assert_string_equal(mp_text_get(&t), "");
    for (int i = 0; i < 20000; i++) mp_text_add(&t, "%d,", i % 10);
    assert_int_equal(t.length, 40000);
    for (int i = 0; i < 20000; i++) {
        assert_int_equal(mp_text_get(&t)[2 * i], '0' + i % 10);
        assert_int_equal(mp_text_get(&t)[2 * i + 1], ',');
    }
    mp_text_add(&t, "%s", mp_text_get(&t)); /* itself, while it moves */
    assert_int_equal(strlen(mp_text_get(&t)), 80000);
    char *stolen = mp_text_steal(&t);
    assert_int_equal(strlen(stolen), 80000);
    assert_memory_equal(stolen, stolen + 40000, 40000);
    free(stolen);
    assert_string_equal(mp_text_get(&t), "");
    stolen = mp_text_steal(&t);
    assert_string_equal(stolen, "");
    free(stolen);
    mp_text_free(&t);
}

static void a_lost_piece_is_told(void **state) {
    (void)state;
    mp_text t = {0};
    mp_text_add(&t, "half of a");
    t.lost = true; /* what a failed allocation leaves */
    mp_text_add(&t, " number: 12");
    assert_string_equal(mp_text_get(&t), MP_TEXT_LOST);
    assert_null(mp_text_steal(&t));
    assert_string_equal(mp_text_get(&t), "");
}

static void sets_keep_their_texts(void **state) {
    (void)state;
    mp_texts set = {0};
    const char *text[100];
    for (int i = 0; i < 100; i++) text[i] = mp_texts_add(&set, "text %d", i);
    for (int i = 0; i < 100; i++) {
        char expected[16];
        snprintf(expected, sizeof expected, "text %d", i);
        assert_string_equal(text[i], expected);
    }
    mp_texts_free(&set);
    assert_int_equal(set.count, 0);
    mp_texts_free(&set);
}

static const char *word(const char *text) {
    static mp_text t;
    mp_text_free(&t);
    mp_text_add_word(&t, text);
    return mp_text_get(&t);
}

static void words_are_quoted_where_they_must_be(void **state) {
    (void)state;
    assert_string_equal(word("path=runner"), "path=runner");
    assert_string_equal(word("/tmp/a-b_c.h5"), "/tmp/a-b_c.h5");
    assert_string_equal(word(""), "''");
    assert_string_equal(word("M=1 topk=2"), "'M=1 topk=2'");
    assert_string_equal(word("it's"), "'it'\\''s'");
    assert_string_equal(word("M>16"), "'M>16'");
    assert_string_equal(word("a\nb"), "$'a\\012b'");
    assert_string_equal(word("\xff'"), "$'\\377\\047'");
    assert_string_equal(word("\xc2\x9b"), "$'\\302\\233'"); /* a control character of two bytes */
    assert_string_equal(word("gr\xc3\xbc\xc3\x9f"), "'gr\xc3\xbc\xc3\x9f'");
}

/* Every byte, alone and before a digit, comes through a real shell as it was; and what is printed is one
 * line. */
static void a_shell_gives_every_word_back(void **state) {
    (void)state;
    if (system("command -v bash > /dev/null") != 0) {
        print_message("skipped: no bash\n");
        skip();
    }
    for (int byte = 1; byte < 256; byte++) {
        const char text[] = {(char)byte, '7', '\\', (char)byte, '\0'};
        mp_text command = {0};
        mp_text_add(&command, "exec printf %%s ");
        mp_text_add_word(&command, text);
        assert_null(strchr(mp_text_get(&command), '\n'));
        assert_int_equal(setenv("COMMAND", mp_text_get(&command), 1), 0);
        FILE *shell = popen("exec bash -c \"$COMMAND\"", "r");
        assert_non_null(shell);
        char got[64] = "";
        got[fread(got, 1, sizeof got - 1, shell)] = '\0';
        assert_int_equal(pclose(shell), 0);
        assert_string_equal(got, text);
        mp_text_free(&command);
    }
}

/* What is longer than its place says so, and no character is halved. */
static void what_does_not_fit_says_so(void **state) {
    (void)state;
    char to[12];
    mp_text_fit(to, sizeof to, "%s", "eleven char");
    assert_string_equal(to, "eleven char");
    mp_text_fit(to, sizeof to, "%s", "twelve chars");
    assert_string_equal(to, "twelve c...");
    mp_text_fit(to, sizeof to, "%s, %s", to, "and more");
    assert_string_equal(to, "twelve c...");
    mp_text_fit(to, sizeof to,
                "1234567\xc3\xbc\xc3\xbc\xc3\xbc"); /* the first one ends behind the eighth byte */
    assert_string_equal(to, "1234567...");
    mp_text_fit(to, sizeof to, "12345\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac");
    assert_string_equal(to, "12345\xe2\x82\xac...");
    mp_text_fit(to, 4, "four");
    assert_string_equal(to, "...");
    mp_text_fit(to, sizeof to, "%s", "");
    assert_string_equal(to, "");
}

static void utf8_characters(void **state) {
    (void)state;
    static const struct {
        const char *text;
        size_t length;
        unsigned code;
    } e[] = {{"a", 1, 'a'},
             {"\xc3\xbc", 2, 0xFC},
             {"\xe2\x82\xac", 3, 0x20AC},
             {"\xf0\x9f\x98\x80", 4, 0x1F600},
             {"", 0, 0},
             {"\x80", 0, 0},             /* no lead */
             {"\xc3", 0, 0},             /* cut */
             {"\xc0\xaf", 0, 0},         /* overlong */
             {"\xe0\x80\xaf", 0, 0},     /* overlong */
             {"\xed\xa0\x80", 0, 0},     /* a surrogate */
             {"\xf4\x90\x80\x80", 0, 0}, /* beyond the last */
             {"\xf8\x88\x80\x80\x80", 0, 0}};
    for (size_t i = 0; i < sizeof e / sizeof *e; i++) {
        unsigned code = 0;
        assert_int_equal(mp_utf8_character(e[i].text, &code), e[i].length);
        if (e[i].length > 0) assert_int_equal(code, e[i].code);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_grows),
        cmocka_unit_test(a_lost_piece_is_told),
        cmocka_unit_test(sets_keep_their_texts),
        cmocka_unit_test(words_are_quoted_where_they_must_be),
        cmocka_unit_test(a_shell_gives_every_word_back),
        cmocka_unit_test(what_does_not_fit_says_so),
        cmocka_unit_test(utf8_characters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
