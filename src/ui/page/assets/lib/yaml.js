// Says where a text stops being JSON or YAML. The YAML side checks structure (indentation, mappings,
// sequences, quotes, flow collections, block scalars, doubled keys) of YAML 1.2 as people write it in
// configuration; it does not build values.

// `null` when the text is fine, else `{ line, why }` with `why` a name of a text.
export function checkJson(text) {
  try {
    JSON.parse(text);
    return null;
  } catch (error) {
    const at = /position (\d+)/.exec(error.message)?.[1];
    const line = /line (\d+)/.exec(error.message)?.[1];
    const where = at === undefined ? text.length : Number(at);
    return { line: line ? Number(line) : text.slice(0, where).split('\n').length, detail: error.message };
  }
}

class Wrong extends Error {
  constructor(line, why) {
    super(why);
    Object.assign(this, { line, why });
  }
}

export function checkYaml(text) {
  try {
    new Checker(text).run();
    return null;
  } catch (error) {
    if (!(error instanceof Wrong)) throw error;
    return { line: error.line, why: error.why };
  }
}

const BLANK = /^\s*(#.*)?$/;
const BLOCK_SCALAR = /^[|>]([+-]?[1-9]?|[1-9][+-]?)\s*(\s#.*)?$/;
const PROPERTY = /^([&!][^\s,[\]{}]*)(\s+|$)/;

class Checker {
  constructor(text) {
    this.lines = text.replaceAll('\r\n', '\n').split('\n');
    this.at = 0;
    this.reset();
  }

  reset() {
    // Open collections, outermost first: `{ indent, kind, keys }`; `open` says that a value may follow on a
    // deeper line, `plain` that a plain scalar may go on there.
    this.levels = [];
    this.open = true;
    this.plain = false;
    this.root = false;
  }

  fail(why, line = this.at) {
    throw new Wrong(line + 1, why);
  }

  run() {
    for (; this.at < this.lines.length; this.at += 1) {
      const line = this.lines[this.at];
      if (BLANK.test(line) || (line.startsWith('%') && !this.root)) continue;
      const marker = /^(---|\.\.\.)(\s+(.*))?$/.exec(line);
      if (marker) {
        this.reset();
        if (marker[3] && !BLANK.test(marker[3])) this.value(marker[3], -1);
        continue;
      }
      const indent = /^ */.exec(line)[0].length;
      if (line[indent] === '\t') this.fail('tab');
      this.line(line.slice(indent), indent);
    }
  }

  line(content, indent) {
    const isEntry = /^[-?](\s|$)/.test(content) || this.keyEnd(content) !== null;
    if (this.plain && !isEntry && indent > (this.levels.at(-1)?.indent ?? -1)) return;
    let left = false;
    while (this.levels.length && this.levels.at(-1).indent > indent) {
      this.levels.pop();
      left = true;
    }
    const top = this.levels.at(-1);
    const deeper = !top || indent > top.indent;
    if (deeper && (left || (this.root && !this.open))) this.fail(this.root && !top ? 'extra' : 'indent');
    if (!deeper && !isEntry) this.fail(top.kind === 'map' ? 'key' : 'indent');
    this.root = true;
    this.entry(content, indent);
  }

  // A sequence's entry, a mapping's pair or a value that begins at this column.
  entry(content, column) {
    const dash = /^[-?](\s+|$)/.exec(content);
    if (dash) {
      this.level(column, content[0] === '-' ? 'seq' : 'map');
      const rest = content.slice(dash[0].length);
      this.open = true;
      this.plain = false;
      if (!BLANK.test(rest)) this.entry(rest, column + dash[0].length);
      return;
    }
    const end = this.keyEnd(content);
    if (end === null) {
      this.value(content, this.levels.at(-1)?.indent ?? -1);
      return;
    }
    const level = this.level(column, 'map');
    const key = content.slice(0, end).trim().replace(/^(["'])(.*)\1$/, '$2');
    if (level.keys.has(key) && key !== '<<') this.fail('double');
    level.keys.add(key);
    this.value(content.slice(end + 1).trim(), column);
  }

  level(indent, kind) {
    const top = this.levels.at(-1);
    if (top?.indent === indent) {
      if (top.kind === kind) return top;
      // A sequence may stand below its key without indentation.
      if (top.kind === 'map' && kind === 'seq' && this.open) return this.push(indent, kind);
      if (top.kind === 'seq' && kind === 'map' && this.levels.at(-2)?.indent === indent) {
        this.levels.pop();
        return this.levels.at(-1);
      }
      return this.fail('indent');
    }
    return this.push(indent, kind);
  }

  push(indent, kind) {
    const level = { indent, kind, keys: new Set() };
    this.levels.push(level);
    return level;
  }

  // Where the colon after a key stands, or null when the line begins with no key.
  keyEnd(content) {
    let at = 0;
    for (let property; (property = PROPERTY.exec(content.slice(at)));) at += property[0].length;
    const quote = content[at];
    if (quote === '"' || quote === "'") {
      const close = closing(content, at);
      const colon = close < 0 ? null : /^\s*:(\s|$)/.exec(content.slice(close + 1));
      return colon ? close + 1 + colon[0].indexOf(':') : null;
    }
    if (quote === '[' || quote === '{' || quote === '#') return null;
    const found = /:(\s|$)/.exec(content);
    const comment = content.search(/\s#/);
    return found && (comment < 0 || found.index < comment) ? found.index : null;
  }

  value(text, indent) {
    let rest = text;
    for (let property; (property = PROPERTY.exec(rest));) rest = rest.slice(property[0].length);
    this.plain = false;
    this.open = BLANK.test(rest);
    if (this.open) return;
    if (BLOCK_SCALAR.test(rest)) this.blockScalar(indent);
    else if (rest[0] === '"' || rest[0] === "'") this.quoted(rest);
    else if (rest[0] === '[' || rest[0] === '{') this.flow(rest);
    else if (/^[@`%|>]/.test(rest)) this.fail('reserved');
    else {
      const bare = rest.replace(/\s#.*$/, '');
      if (/:(\s|$)/.test(bare)) this.fail('nested');
      this.plain = bare[0] !== '*';
    }
  }

  blockScalar(indent) {
    while (this.at + 1 < this.lines.length) {
      const next = this.lines[this.at + 1];
      if (next.trim() && /^ */.exec(next)[0].length <= indent) return;
      this.at += 1;
    }
  }

  quoted(text) {
    const begun = this.at;
    let rest = text;
    let close = closing(rest, 0);
    while (close < 0) {
      this.at += 1;
      if (this.at >= this.lines.length) this.fail('quote', begun);
      rest = `${rest}\n${this.lines[this.at]}`;
      close = closing(rest, 0);
    }
    this.after(rest.slice(close + 1));
  }

  flow(text) {
    const begun = this.at;
    const open = [];
    let rest = text;
    for (let n = 0; ; n += 1) {
      while (n >= rest.length) {
        this.at += 1;
        if (this.at >= this.lines.length) this.fail('bracket', begun);
        rest += `\n${this.lines[this.at]}`;
      }
      const c = rest[n];
      const starts = /[\s,[{:]/.test(rest[n - 1] ?? ' ');
      if ((c === '"' || c === "'") && starts) {
        let close = closing(rest, n);
        while (close < 0) {
          this.at += 1;
          if (this.at >= this.lines.length) this.fail('quote', begun);
          rest += `\n${this.lines[this.at]}`;
          close = closing(rest, n);
        }
        n = close;
      } else if (c === '#' && /\s/.test(rest[n - 1] ?? ' ')) {
        while (n + 1 < rest.length && rest[n + 1] !== '\n') n += 1;
      } else if (c === '[' || c === '{') open.push(c);
      else if (c === ']' || c === '}') {
        if (open.pop() !== (c === ']' ? '[' : '{')) this.fail('bracket');
        if (!open.length) {
          this.after(rest.slice(n + 1));
          return;
        }
      }
    }
  }

  after(rest) {
    if (!/^(\s*|\s+#.*)$/.test(rest)) this.fail('after');
  }
}

// Where the quote that opens at `from` closes, or -1.
function closing(text, from) {
  const quote = text[from];
  for (let n = from + 1; n < text.length; n += 1) {
    if (quote === '"' && text[n] === '\\') n += 1;
    else if (text[n] === quote) {
      if (quote === "'" && text[n + 1] === "'") n += 1;
      else return n;
    }
  }
  return -1;
}
