// Keys: create, edit as text and as hex with every byte kept, large values, flags, validity, a change made
// by somebody else, import and export, deletion of a folder.

import { readFile, writeFile } from 'node:fs/promises';

export default async function keys({ args, assert, tab, visit, see, save: press, api }) {
  const page = await tab({ acceptDownloads: true, token: args.token });
  const save = () => press(page);
  const saved = () => see(page, 'Saved.');
  const value = page.getByLabel('Value', { exact: false }).first();
  const raw = async (key) => (await api('GET', `kv/${key}?raw`)).bytes;

  // A new key in a folder that does not exist yet.
  await visit(page, 'dc1/kv');
  await page.getByRole('link', { name: 'New key' }).click();
  await page.getByLabel('Key', { exact: true }).fill('app/ä b/config.yaml');
  await value.fill('a: 1\n b: 2\n');
  await see(page, 'Not valid YAML, line 2');
  await value.fill('a: 1\nb: [x, ü]\n');
  await see(page, 'Valid YAML');
  await page.getByLabel('Flags').fill('18446744073709551615');
  await save();
  await page.waitForURL(/config\.yaml$/);
  assert.equal((await raw(encodeURI('app/ä b/config.yaml'))).toString(), 'a: 1\nb: [x, ü]\n');
  assert.match((await api('GET', encodeURI('kv/app/ä b/config.yaml'))).text, /"Flags": ?18446744073709551615/);
  await see(page, 'Modify index');
  assert.equal(await page.getByLabel('Flags').inputValue(), '18446744073709551615');

  // Line ends of the other kind, and a value that is only looked at, stay what they are.
  await api('PUT', 'kv/app/crlf.txt', 'one\r\ntwo\r\n');
  await visit(page, 'dc1/kv/app/crlf.txt');
  await see(page, 'CR LF');
  await value.fill('one\ntwo\nthree\n');
  await save();
  await saved();
  assert.equal((await raw('app/crlf.txt')).toString(), 'one\r\ntwo\r\nthree\r\n');

  // Every byte there is, as hex.
  const bytes = Buffer.from(Array.from({ length: 256 }, (_, n) => n));
  await api('PUT', 'kv/app/bytes', bytes);
  await visit(page, 'dc1/kv/app/bytes');
  await see(page, 'Value in hex');
  await page.getByLabel('Value in hex').fill('zz');
  await see(page, 'Only pairs of hex digits');
  assert.ok(await page.getByRole('button', { name: 'Save' }).isDisabled());
  await page.getByLabel('Value in hex').fill(`${bytes.subarray(1).toString('hex')} 00`);
  await save();
  await saved();
  assert.deepEqual(await raw('app/bytes'), Buffer.concat([bytes.subarray(1), Buffer.from([0])]));

  // As large as an agent takes, from a file; binary, so no editor shows it.
  const large = Buffer.alloc(512 << 10, 0);
  large.forEach((_, n) => { large[n] = (n * 7919) >> 3; });
  await writeFile(`${args.dir}/large.bin`, large);
  await page.getByLabel('Take from file').setInputFiles(`${args.dir}/large.bin`);
  await see(page, 'too long to be edited here');
  await save();
  await saved();
  assert.ok((await raw('app/bytes')).equals(large));
  const text = 'x'.repeat(300 << 10);
  await api('PUT', 'kv/app/long.txt', text);
  await visit(page, 'dc1/kv/app/long.txt');
  await value.fill(`${text}y`);
  await save();
  await saved();
  assert.equal((await raw('app/long.txt')).length, text.length + 1);

  // Changed by somebody else while it is edited: nothing is overwritten unasked.
  await api('PUT', 'kv/app/shared', 'theirs 1');
  await visit(page, 'dc1/kv/app/shared');
  await value.fill('mine');
  await api('PUT', 'kv/app/shared', 'theirs 2');
  await see(page, 'This key was changed meanwhile');
  await save();
  await page.getByText('This key was changed meanwhile').nth(1).waitFor();
  assert.equal((await raw('app/shared')).toString(), 'theirs 2');
  await page.getByRole('button', { name: 'Keep mine' }).click();
  await save();
  await saved();
  assert.equal((await raw('app/shared')).toString(), 'mine');
  await api('PUT', 'kv/app/shared', 'theirs 3');
  await page.waitForFunction(() => document.querySelector('textarea')?.value === 'theirs 3');

  // A lock is shown, and its session can be ended.
  const session = JSON.parse((await api('PUT', 'session/create', '{"Name": "holder"}')).text).ID;
  await api('PUT', `kv/app/shared?acquire=${session}`, 'held');
  await see(page, session);
  await page.getByRole('button', { name: 'Invalidate' }).click();
  await page.getByRole('dialog').getByText('“holder” ends').waitFor();
  await page.getByRole('dialog').getByRole('button', { name: 'Invalidate' }).click();
  await page.getByText('Locked', { exact: true }).waitFor({ state: 'detached' });
  assert.equal(JSON.parse((await api('GET', 'kv/app/shared')).text)[0].Session, undefined);

  // Export is what the command line exports, and import takes it back.
  await visit(page, 'dc1/kv/app/');
  const [download] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', { name: 'Export' }).click()]);
  const file = `${args.dir}/export.json`;
  await download.saveAs(file);
  const { execFileSync } = await import('node:child_process');
  const cli = execFileSync(args.cli, ['kv', 'export', `-http-addr=${args.api}`, `-token=${args.token}`, 'app/'], { maxBuffer: 1 << 24 });
  assert.equal(await readFile(file, 'utf8'), cli.toString());
  await page.getByRole('button', { name: 'Delete folder' }).click();
  await page.getByRole('button', { name: /Delete \d+ keys/ }).waitFor();
  assert.ok(await page.getByRole('button', { name: /Delete \d+ keys/ }).isDisabled());
  await page.getByLabel('Type app/ to confirm').fill('app/');
  await page.getByRole('button', { name: /Delete \d+ keys/ }).click();
  await see(page, 'keys deleted');
  assert.equal((await api('GET', 'kv/app/?keys')).status, 404);
  await page.getByLabel('Import').setInputFiles(file);
  await page.getByRole('dialog').getByRole('button', { name: 'Import' }).click();
  await see(page, 'keys imported');
  await page.getByRole('link', { name: 'app' }).first().waitFor();
  const again = execFileSync(args.cli, ['kv', 'export', `-http-addr=${args.api}`, `-token=${args.token}`, 'app/'], { maxBuffer: 1 << 24 });
  assert.equal(again.toString(), cli.toString());
  await page.getByLabel('Import').setInputFiles({ name: 'x.json', mimeType: 'application/json', buffer: Buffer.from('{"a": 1}') });
  await see(page, 'no export of keys');

  // A folder with more keys than a list shows: the rest is found by searching.
  for (let n = 0; n < 1100; n += 50) {
    const set = Array.from({ length: 50 }, (_, k) => ({ KV: { Verb: 'set', Key: `many/${String(n + k).padStart(4, '0')}`, Value: 'eA==' } }));
    assert.equal((await api('PUT', 'txn', JSON.stringify(set))).status, 200);
  }
  await visit(page, 'dc1/kv/many/');
  await see(page, '100 more are not shown');
  assert.equal(await page.locator('.rows .row').count(), 1000);
  await page.getByLabel('Search in this folder').fill('1099');
  await page.getByRole('link', { name: '1099' }).waitFor();
  assert.equal(await page.locator('.rows .row').count(), 1);

  // One key, deleted with the keyboard alone.
  await visit(page, 'dc1/kv/app/shared');
  await page.getByRole('button', { name: 'Delete' }).focus();
  await page.keyboard.press('Enter');
  await page.getByRole('dialog').waitFor();
  await page.keyboard.press('Escape');
  assert.equal((await api('GET', 'kv/app/shared')).status, 200);
  await page.keyboard.press('Enter');
  await page.getByRole('dialog').getByRole('button', { name: 'Delete' }).press('Enter');
  await see(page, '1 key deleted');
  assert.equal((await api('GET', 'kv/app/shared')).status, 404);
}
