// The little that is needed to keep a page up to date without building it anew: focus, open details, selections and
// scroll positions survive. Text is always set as text, so no name from an event can be anything else.

const SVG = "http://www.w3.org/2000/svg";

/** The element with this id. */
export const byId = (id) => document.getElementById(id);

/** Makes an element: properties are assigned, children are elements or text. */
export function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

/** Makes an element of a picture: attributes are set, children are elements. */
export function makeSvg(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** An element of which only the class is of interest, with text or children. */
export const span = (className, ...children) => make("span", { className }, ...children);

/** Sets text where it differs, so that a selection in it survives. */
export function text(element, value) {
  if (element.textContent !== value) element.textContent = value;
}

/** Sets a property where it differs. */
export function set(element, name, value) {
  if (element[name] !== value) element[name] = value;
}

/** Sets what style sheets can ask for; a value that is null, undefined or false takes it away. */
export function mark(element, name, value) {
  const wanted = value == null || value === false ? undefined : String(value);
  if (wanted === undefined) delete element.dataset[name];
  else if (element.dataset[name] !== wanted) element.dataset[name] = wanted;
  return element;
}

/** Sets a length or a place, in percent of what it is in; `share` is of one. */
export function place(element, property, share) {
  const value = `${(Math.max(0, Math.min(1, share || 0)) * 100).toFixed(1)}%`;
  if (element.style[property] !== value) element.style[property] = value;
}

/** Has `parent` hold one child for each item, in their order; those it has are kept, and moved only if they must. */
export function keyed(parent, items, key, create, update = () => {}) {
  const known = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  const wanted = items.map((item) => {
    const name = String(key(item));
    const child = known.get(name) ?? create(item);
    child.dataset.key = name;
    update(child, item);
    return child;
  });
  const kept = new Set(wanted);
  for (const child of known.values()) if (!kept.has(child)) child.remove();
  wanted.forEach((child, index) => {
    if (parent.children[index] !== child) parent.insertBefore(child, parent.children[index] ?? null);
  });
}

/** A bar; its filled part is its first child. The number it shows stands beside it as text. */
export function track(kind = "") {
  const bar = make("div", { className: `track ${kind}` }, make("div", { className: "fill" }));
  bar.setAttribute("aria-hidden", "true");
  return bar;
}
