// Runs one scenario in a headless Chromium: `node run.mjs SCENARIO '{"url": ..., ...}'`.
//
// A scenario is a module whose default function gets the tools below. Lines `> COMMAND` on stdout ask the
// test program to do something to the agents; its answer is one line on stdin. Whatever a page throws, and
// every breach of its security policy, fails the scenario.

import assert from 'node:assert/strict';
import { createInterface } from 'node:readline';
import { chromium } from 'playwright-core';

// Bounds only how long a failing run hangs: on a busy machine all of this takes its time.
const PATIENCE = 120_000;
const [name, json] = process.argv.slice(2);
const answers = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const problems = [];

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync', '--disable-dev-shm-usage'],
});

const tools = {
  args: JSON.parse(json),
  browser,
  assert,
  problems,

  // A new tab; `token` signs it in before the page begins.
  async tab({ token, ...options } = {}) {
    const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, colorScheme: 'light', ...options });
    const page = await context.newPage();
    page.setDefaultTimeout(PATIENCE);
    page.on('pageerror', (error) => problems.push(`${page.url()}: ${error.stack}`));
    page.on('console', (message) => {
      if (/Content Security Policy|Refused to|TypeError|SyntaxError/.test(message.text())) problems.push(`${page.url()}: ${message.text()}`);
    });
    if (token) await page.addInitScript((secret) => sessionStorage.setItem('consul-lite.token', secret), token);
    return page;
  },

  // Goes to a page of the application and waits until it has what it asked for.
  async visit(page, path, url = tools.args.url) {
    await page.goto(`${url}#/${path}`);
    // The application has heard of the new address when it has drawn twice.
    await page.evaluate(() => new Promise((done) => { requestAnimationFrame(() => requestAnimationFrame(done)); }));
    await tools.settled(page);
  },

  settled: (page) => page.waitForFunction(() => document.querySelector('#page h1') && !document.querySelector('[aria-busy]')),

  see: (page, text) => page.getByText(text).first().waitFor(),

  // Presses Save, so that what is said afterwards is said of that.
  async save(page) {
    await page.evaluate(() => { document.getElementById('said').textContent = ''; });
    await page.getByRole('button', { name: 'Save', exact: true }).click();
  },

  // Asks the test program for something and gives its answer.
  async ask(command) {
    console.log(`> ${command}`);
    const { value } = await answers.next();
    if (!value?.startsWith('ok')) throw new Error(`${command}: ${value}`);
    return value.slice(3);
  },

  // A request to the API beside the page.
  async api(method, path, body, token = tools.args.token) {
    const response = await fetch(`${tools.args.api}/v1/${path}`, { method, body, headers: token ? { 'X-Consul-Token': token } : {} });
    const bytes = Buffer.from(await response.arrayBuffer());
    return { status: response.status, headers: response.headers, bytes, text: bytes.toString() };
  },
};

try {
  const { default: scenario } = await import(`./${name}.mjs`);
  await scenario(tools);
  assert.deepEqual(problems, []);
} catch (error) {
  console.error(error.stack);
  problems.forEach((problem) => console.error(problem));
  const open = browser.contexts().flatMap((context) => context.pages());
  for (const page of open.slice(-2)) {
    console.error(`at ${page.url()}:\n${await page.evaluate(() => document.body.innerText.slice(0, 1500)).catch(() => '')}`);
  }
  process.exitCode = 1;
} finally {
  await browser.close();
  process.exit();
}
