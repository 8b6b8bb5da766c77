// Values of keys as bytes: base64 as the API sends them, text where it comes back unchanged, hex otherwise.

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

export function fromBase64(text) {
  const binary = atob(text ?? '');
  return Uint8Array.from(binary, (c) => c.charCodeAt(0));
}

export function toBase64(bytes) {
  let binary = '';
  for (let at = 0; at < bytes.length; at += 0x8000) {
    binary += String.fromCharCode(...bytes.subarray(at, at + 0x8000));
  }
  return btoa(binary);
}

export const same = (a, b) => a.length === b.length && a.every((byte, n) => byte === b[n]);

// The text of a value and its line ends, or null when an editor for text would not give back the same
// bytes: not UTF-8, control characters, or line ends of both kinds.
export function asText(bytes) {
  let text;
  try {
    text = decoder.decode(bytes);
  } catch {
    return null;
  }
  if (/[\0-\x08\x0b\x0c\x0e-\x1f\x7f]/.test(text)) return null;
  const crlf = text.includes('\r\n');
  if (/\r(?!\n)/.test(text) || (crlf && /(^|[^\r])\n/.test(text))) return null;
  return { text: crlf ? text.replaceAll('\r\n', '\n') : text, crlf };
}

export function fromText(text, crlf) {
  return new TextEncoder().encode(crlf ? text.replaceAll('\n', '\r\n') : text);
}

const PER_LINE = 16;

export function toHex(bytes) {
  let out = '';
  bytes.forEach((byte, n) => {
    out += byte.toString(16).padStart(2, '0');
    if (n + 1 < bytes.length) out += (n + 1) % PER_LINE === 0 ? '\n' : ' ';
  });
  return out;
}

// The bytes, or null when it is no sequence of pairs of hex digits.
export function fromHex(text) {
  const digits = text.replace(/\s+/g, '');
  if (digits.length % 2 || /[^0-9a-f]/i.test(digits)) return null;
  const bytes = new Uint8Array(digits.length / 2);
  for (let n = 0; n < bytes.length; n += 1) bytes[n] = parseInt(digits.slice(2 * n, 2 * n + 2), 16);
  return bytes;
}

export function sizeOf(count) {
  if (count < 1024) return `${count} B`;
  if (count < 1024 * 1024) return `${(count / 1024).toFixed(1)} KiB`;
  return `${(count / 1024 / 1024).toFixed(1)} MiB`;
}
