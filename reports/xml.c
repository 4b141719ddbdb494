/* SPDX-License-Identifier: Apache-2.0 */
#include "reports/xml.h"

#include "base/text.h"

/* Length of the UTF-8 character at text that XML 1.0 allows (section 2.2: no control characters but tab, line
 * feed and carriage return, not FFFE and FFFF); 0 when there is none. */
static size_t xml_character(const char *text) {
    unsigned code;
    const size_t length = mp_utf8_character(text, &code);
    if (length == 1) return code >= 0x20 || code == '\t' || code == '\n' || code == '\r';
    return code == 0xFFFE || code == 0xFFFF ? 0 : length;
}

void mp_xml_text(FILE *out, const char *text) {
    while (*text != '\0') {
        size_t length = xml_character(text);
        if (length > 1)
            fwrite(text, 1, length, out);
        else if (length == 0)
            fputc('?', out);
        else if (*text == '&')
            fputs("&amp;", out);
        else if (*text == '<')
            fputs("&lt;", out);
        else if (*text == '>')
            fputs("&gt;", out);
        else if (*text == '"')
            fputs("&quot;", out);
        else if (*text < 0x20)
            fprintf(out, "&#%d;", *text);
        else
            fputc(*text, out);
        text += length > 0 ? length : 1;
    }
}

void mp_xml_attribute(FILE *out, const char *name, const char *value) {
    fprintf(out, " %s=\"", name);
    mp_xml_text(out, value);
    fputc('"', out);
}
