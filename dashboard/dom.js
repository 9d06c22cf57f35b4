// The little that is needed to keep a page up to date without building it anew: focus, open details and scroll
// positions survive. Text is always set as text, so no name from an event can be anything else.

const SVG = "http://www.w3.org/2000/svg";

/** The element with this id. */
export const byId = (id) => document.getElementById(id);

/** Makes an element: properties are assigned, children are elements or text. */
export function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

/** Sets text where it differs, so that a selection in it survives. */
export function text(element, value) {
  if (element.textContent !== value) element.textContent = value;
}

/** Has `parent` hold one child for each item, in their order, keeping those it has. */
export function keyed(parent, items, key, create, update) {
  const former = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  let place = parent.firstElementChild;
  for (const item of items) {
    const name = String(key(item));
    let child = former.get(name);
    former.delete(name);
    if (!child) {
      child = create(item);
      child.dataset.key = name;
    }
    if (child === place) place = place.nextElementSibling;
    else parent.insertBefore(child, place);
    update(child, item);
  }
  for (const child of former.values()) child.remove();
}

/** Sets the length of a bar; `share` is of one. */
export function fill(bar, share) {
  const width = `${(Math.max(0, Math.min(1, share || 0)) * 100).toFixed(1)}%`;
  if (bar.style.width !== width) bar.style.width = width;
}

/** A bar; its filled part is its first child. */
export function track(kind = "") {
  const bar = make("div", { className: "track" }, make("div", { className: `fill ${kind}` }));
  bar.setAttribute("aria-hidden", "true");
  return bar;
}

/** A line of the last values, without axes. */
export function sparkline() {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", "spark");
  svg.setAttribute("viewBox", "0 0 100 24");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  svg.append(document.createElementNS(SVG, "path"));
  return svg;
}

/** Draws `values`, the newest at the right; a few of them do not fill the width. */
export function draw(svg, values) {
  const room = Math.max(values.length, 30);
  const highest = Math.max(...values, 0) || 1;
  const x = (index) => (100 * (room - values.length + index)) / (room - 1);
  const points = values.map((value, index) => `${x(index).toFixed(1)} ${(22 - (20 * value) / highest).toFixed(1)}`);
  svg.firstElementChild.setAttribute("d", points.length > 1 ? `M${points.join("L")}` : "");
}
