/* SPDX-License-Identifier: Apache-2.0 */
/* reports/page/, embedded by the build: {{style}}, {{script}} and {{reports}} in the first are places for the
 * others. */
#ifndef MP_REPORTS_PAGE_PARTS_H
#define MP_REPORTS_PAGE_PARTS_H

#include <stddef.h>

extern const unsigned char mp_page_html[], mp_page_css[], mp_page_js[];
extern const size_t mp_page_html_bytes, mp_page_css_bytes, mp_page_js_bytes;

#endif
