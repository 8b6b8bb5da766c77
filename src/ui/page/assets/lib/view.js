// One page while it is shown: its queries, its drawing, and the end of both when it is left.

import { h, render } from './vdom.js';
import { ApiError, get, place } from './api.js';
import { Live } from './live.js';
import { may } from './may.js';

const TYPING = 250;

export class View {
  constructor(outlet, route, changed) {
    Object.assign(this, { outlet, route, changed, queries: [], typed: {}, closed: false, queued: false });
    this.control = new AbortController();
    this.draw = () => null;
  }

  // Follows a list by a blocking query.
  follow(path, query = {}, then = () => {}) {
    const live = new Live(path, query, (self) => {
      then(self);
      this.redraw();
    });
    this.queries.push(live);
    return live;
  }

  // Asks once; the value looks like one of `follow`.
  load(path, query = {}, then = () => {}) {
    const once = { state: 'loading', data: null, error: null };
    once.restart = async () => {
      try {
        Object.assign(once, { data: await get(path, query, { signal: this.control.signal }), state: 'live', error: null });
      } catch (error) {
        if (this.closed) return;
        Object.assign(once, { state: error instanceof ApiError ? error.kind : 'failed', error });
      }
      then(once);
      this.redraw();
    };
    once.restart();
    return once;
  }

  // Ends a query that the page no longer needs.
  drop(live) {
    live.close?.();
    this.queries = this.queries.filter((other) => other !== live);
  }

  may(...asked) {
    return may(...asked);
  }

  // The same for a name that is being typed: asked when the typing pauses, until then the last answer holds.
  // Without a name there is nothing to ask yet.
  mayTyped(resource, access, segment) {
    const { typed } = this;
    if (!segment) return undefined;
    typed.asked ??= segment;
    if (segment !== typed.wanted) {
      typed.wanted = segment;
      clearTimeout(typed.timer);
      typed.timer = setTimeout(() => { typed.asked = segment; this.redraw(); }, TYPING);
    }
    typed.answer = may(resource, access, typed.asked) ?? typed.answer;
    return typed.answer;
  }

  // Keeps what is searched for in the address, so that going back finds it again.
  remember(query) {
    const { page, rest } = this.route;
    history.replaceState(null, '', new URL(linkTo([page, ...rest], query), document.baseURI));
  }

  redraw() {
    if (this.closed || this.queued) return;
    this.queued = true;
    requestAnimationFrame(() => {
      this.queued = false;
      if (this.closed) return;
      render(this.outlet, this.draw());
      this.changed(this);
    });
  }

  // Runs a write; its error comes back as a value to be shown, `null` is success.
  async attempt(write) {
    try {
      await write();
      return null;
    } catch (error) {
      return error;
    } finally {
      this.redraw();
    }
  }

  close() {
    this.closed = true;
    this.control.abort();
    this.queries.forEach((live) => live.close());
    render(this.outlet);
  }
}

// A link to a page of this application; names with any character, slashes stay slashes. A datacenter given
// with `at` is another one than the one shown.
export function linkTo(names, query = {}, at = place.dc) {
  const path = [at, ...names].filter((name) => name !== undefined && name !== '')
    .map((name) => name.split('/').map(encodeURIComponent).join('/')).join('/');
  const search = new URLSearchParams(Object.entries(query).filter(([, value]) => value)).toString();
  return `#/${path}${search ? `?${search}` : ''}`;
}

// Goes to a page; `replace` leaves no step in the history.
export function goTo(hash, replace = false) {
  if (replace) {
    history.replaceState(null, '', new URL(hash, document.baseURI));
    dispatchEvent(new HashChangeEvent('hashchange'));
  } else location.hash = hash;
}

export { h };
