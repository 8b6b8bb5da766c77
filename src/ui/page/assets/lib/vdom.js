// Elements described as values and brought into the document by the smallest change, so that focus, scroll
// and what is being typed outlive an update.
//
// `h(tag, props, ...children)`: `key` tells siblings apart, `on*` are listeners, `value` and `checked` are
// properties, `ref` is called with a new element, all else are attributes (`true` is present, `false`,
// `null` and `undefined` absent).

const SVG = 'http://www.w3.org/2000/svg';

export function h(tag, props, ...children) {
  return { tag, props: props ?? {}, children: flat(children) };
}

function flat(children) {
  return children.flat(Infinity)
    .filter((child) => child !== null && child !== undefined && child !== false && child !== '')
    .map((child) => (typeof child === 'object' ? child : { text: String(child) }));
}

// Makes the children of `parent` what `next` says.
export function render(parent, ...next) {
  const children = flat(next);
  patchChildren(parent, parent.described ?? [], children, parent.namespaceURI === SVG);
  parent.described = children;
}

function patchChildren(parent, before, after, svg) {
  const kept = new Map(identified(before));
  const wanted = identified(after);
  for (const [id, node] of wanted) {
    const old = kept.get(id);
    kept.delete(id);
    if (old) patch(old, node, svg);
    else create(node, svg);
  }
  for (const old of kept.values()) old.element.remove();
  let place = parent.firstChild;
  for (const [, node] of wanted) {
    if (node.element === place) place = place.nextSibling;
    else parent.insertBefore(node.element, place);
  }
}

// Siblings by key, those without one by tag and order.
function identified(nodes) {
  const seen = new Map();
  return nodes.map((node) => {
    const kind = node.tag ?? '#';
    if (node.props?.key !== undefined) return [`${kind}=${node.props.key}`, node];
    const count = (seen.get(kind) ?? 0) + 1;
    seen.set(kind, count);
    return [`${kind}:${count}`, node];
  });
}

function create(node, svg) {
  if (node.tag === undefined) {
    node.element = document.createTextNode(node.text);
    return;
  }
  const inside = svg || node.tag === 'svg';
  node.element = inside ? document.createElementNS(SVG, node.tag) : document.createElement(node.tag);
  // Children first: a select's value needs its options.
  patchChildren(node.element, [], node.children, inside);
  patchProps(node.element, {}, node.props);
  node.props.ref?.(node.element);
}

function patch(old, node, svg) {
  node.element = old.element;
  if (node.tag === undefined) {
    if (old.text !== node.text) node.element.data = node.text;
    return;
  }
  patchChildren(node.element, old.children, node.children, svg || node.tag === 'svg');
  patchProps(node.element, old.props, node.props);
}

function patchProps(element, before, after) {
  for (const name of Object.keys(before)) {
    if (!(name in after)) setProp(element, name, null);
  }
  for (const [name, value] of Object.entries(after)) {
    if (value !== before[name] || name === 'value' || name === 'checked') setProp(element, name, value);
  }
}

function setProp(element, name, value) {
  if (name === 'key' || name === 'ref') return;
  if (name.startsWith('on')) element[name] = value;
  else if (name === 'value' || name === 'checked') {
    const wanted = value ?? (name === 'checked' ? false : '');
    if (element[name] !== wanted) element[name] = wanted;
  } else if (value === null || value === undefined || value === false) element.removeAttribute(name);
  else element.setAttribute(name, value === true ? '' : value);
}
