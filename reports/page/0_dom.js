/* SPDX-License-Identifier: Apache-2.0 */
/* Elements. All that a report says becomes text of a node: nothing of it is ever read as HTML. */

function h(tag, properties, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(properties || {})) {
        if (value === undefined || value === null || value === false) continue;
        if (name.startsWith("on"))
            element.addEventListener(name.slice(2), value);
        else
            element.setAttribute(name, value === true ? "" : value);
    }
    element.append(
        ...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
    return element;
}

function svg(tag, properties, ...children) {
    const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(properties || {})) element.setAttribute(name, value);
    element.append(...children);
    return element;
}

const byId = (id) => document.getElementById(id);
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

async function copyText(text, button) {
    let done = true;
    try {
        await navigator.clipboard.writeText(text);
    } catch {
        const area = h("textarea", {"aria-hidden": "true"}); /* pages that are files may have no clipboard */
        area.value = text;
        document.body.append(area);
        area.select();
        done = document.execCommand("copy");
        area.remove();
    }
    const label = button.textContent;
    button.textContent = done ? "Copied" : "Not copied";
    setTimeout(() => { button.textContent = label; }, 1200);
}
