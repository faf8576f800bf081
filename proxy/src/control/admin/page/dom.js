// Elements made of data. Texts are texts: nothing here takes markup.

const SVG = "http://www.w3.org/2000/svg";
const built = new WeakMap();

/** An element with attributes, listeners (functions) and children; what is null is left out. */
export function el(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

/** The same, of an image. */
export function svg(name, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, name), attributes, children);
}

/** Sets a text, and disturbs nothing if it is that already. */
export function put(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Has a node say something, or not be there. */
export function say(node, text) {
  put(node, text ?? "");
  node.hidden = !text;
}

/** Builds the children of a node anew if what they are made of has changed. */
export function renew(node, data, build) {
  const key = JSON.stringify(data);
  if (built.get(node) === key) return;
  built.set(node, key);
  node.replaceChildren(...build(data).filter((child) => child !== null));
}

/** A bar that is full at 1. */
export function bar(share, label, kind = "") {
  const part = el("div", { class: "part" });
  part.style.width = `${100 * Math.min(Math.max(share, 0), 1)}%`;
  return el("div", { class: `bar ${kind}`, role: "img", "aria-label": label }, part);
}

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(name, value);
    else if (value !== null && value !== undefined && value !== false)
      node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}
