// Every page, on a laptop and on a phone, light and dark: it draws, fits its width, axe finds nothing
// serious, nothing comes from elsewhere, and at most three requests are held open. Screenshots are kept.

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const SIZES = { laptop: { width: 1280, height: 800 }, phone: { width: 390, height: 844 } };
const MAX_HELD = 3;
const PATIENCE = 60_000;

export default async function pages({ args, assert, tab, visit }) {
  for (const [size, viewport] of Object.entries(SIZES)) {
    for (const colorScheme of ['light', 'dark']) {
      const page = await tab({ viewport, colorScheme, token: args.token, hasTouch: size === 'phone' });
      const held = new Set();
      const foreign = [];
      page.on('request', (request) => {
        held.add(request);
        if (!request.url().startsWith(args.api)) foreign.push(request.url());
      });
      for (const end of ['requestfinished', 'requestfailed']) page.on(end, (request) => held.delete(request));
      for (const path of args.paths) {
        await visit(page, path);
        const name = `${path.replace(/[^\w.-]+/g, '_')}-${size}-${colorScheme}`;
        await page.waitForFunction(() => !document.getAnimations().length);
        await page.screenshot({ path: `${args.shots}/${args.prefix ?? ''}${name}.png`, fullPage: true });
        const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
        assert.ok(wide <= 0, `${name} is ${wide} pixels too wide`);
        assert.equal(await page.locator('h1').count(), 1, name);
        const open = () => [...held].filter((request) => new URL(request.url()).pathname.includes('/v1/'));
        // What is asked once more ends soon; what is held stays.
        for (const end = Date.now() + PATIENCE; open().length > MAX_HELD && Date.now() < end;) await page.waitForTimeout(100);
        assert.ok(open().length <= MAX_HELD, `${name} holds ${open().map((request) => request.url())}`);
        await examine(page, name, assert);
      }
      assert.deepEqual(foreign, []);
      await page.context().close();
    }
  }
}

async function examine(page, name, assert) {
  // Evaluated by the browser's tools, which the page's own policy does not bind.
  await page.evaluate(axe);
  const found = await page.evaluate(async () => {
    const { violations } = await globalThis.axe.run(document, { resultTypes: ['violations'] });
    return violations.filter((v) => ['serious', 'critical'].includes(v.impact))
      .map((v) => `${v.id}: ${v.nodes.slice(0, 3).map((n) => `${n.html} ${n.failureSummary}`).join(' | ')}`);
  });
  assert.deepEqual(found, [], name);
}
