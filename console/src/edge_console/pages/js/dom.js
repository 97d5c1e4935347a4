// Elements from values. Text is always text: nothing here turns a string into markup.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, properties, children) {
  for (const [name, value] of Object.entries(properties || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "style") for (const [key, each] of Object.entries(value)) element.style.setProperty(key, each);
    else if (value === true) element.setAttribute(name, "");
    else element.setAttribute(name, value);
  }
  element.append(...children.flat(3).filter((each) => each !== null && each !== undefined && each !== false));
  return element;
}

/** An HTML element. Properties beginning with "on" are listeners; style is an object. */
export const h = (tag, properties, ...children) => fill(document.createElement(tag), properties, children);

/** An SVG element. */
export const s = (tag, properties, ...children) => fill(document.createElementNS(SVG, tag), properties, children);

/** Makes `parent` hold the elements of `items` in order. Elements are kept by key and made again if their value changed. */
export function keyed(parent, items, key, make) {
  const known = parent.keyedElements || new Map();
  const found = new Map();
  let at = parent.firstElementChild;
  for (const item of items) {
    const name = key(item);
    const before = known.get(name);
    let element = before && before.element;
    if (!before || before.item !== item) {
      const fresh = make(item);
      if (element) {
        const focused = element.contains(document.activeElement);
        if (element === at) at = fresh;
        element.replaceWith(fresh);
        if (focused) (fresh.querySelector("a, button") || fresh).focus({ preventScroll: true });
      }
      element = fresh;
    }
    found.set(name, { item, element });
    if (element === at) at = at.nextElementSibling;
    else parent.insertBefore(element, at);
  }
  while (at) {
    const next = at.nextElementSibling;
    at.remove();
    at = next;
  }
  parent.keyedElements = found;
}

/** Replaces the content of an element unless `value` is what it was made from before. */
export function part(element, value, make) {
  const text = JSON.stringify(value);
  if (element.madeFrom === text) return;
  element.madeFrom = text;
  element.replaceChildren(...[make(value)].flat(3).filter(Boolean));
}
