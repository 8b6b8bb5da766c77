// The page under a content path of its own, behind a reverse proxy that serves the agent below a prefix and
// under another name; addresses of Consul's own interface lead to the same places; writes of other sites are
// refused and the page cannot be framed.

import { createServer, request } from 'node:http';

export default async function proxy({ args, assert, problems, tab, visit, see, api }) {
  const agent = new URL(args.api);
  const server = createServer((incoming, outgoing) => {
    if (!incoming.url.startsWith('/consul/')) {
      outgoing.setHeader('Content-Type', 'text/html');
      outgoing.end(`<iframe src="${args.url}"></iframe><form method="post" enctype="text/plain" action="${args.api}/v1/query"><input name="{" value="}"></form>`);
      return;
    }
    const forwarded = request({ host: agent.hostname, port: agent.port, method: incoming.method, path: incoming.url.slice('/consul'.length), headers: { ...incoming.headers, host: 'agent.internal' } }, (answer) => {
      outgoing.writeHead(answer.statusCode, answer.headers);
      answer.pipe(outgoing);
    });
    forwarded.on('error', () => outgoing.destroy());
    outgoing.on('close', () => forwarded.destroy());
    incoming.pipe(forwarded);
  });
  await new Promise((ready) => server.listen(0, '127.0.0.1', ready));
  const front = `http://127.0.0.1:${server.address().port}`;
  const url = `${front}/consul${args.path}`;

  const page = await tab();
  await visit(page, 'dc1/services', url);
  await page.getByRole('link', { name: 'web', exact: true }).click();
  await see(page, 'How to reach it');
  await visit(page, 'dc1/kv', url);
  await page.getByRole('link', { name: 'New key' }).click();
  await page.getByLabel('Key', { exact: true }).fill('through/the proxy');
  await page.getByLabel('Value').fill('yes');
  await page.getByRole('button', { name: 'Save' }).click();
  await see(page, 'Saved.');
  assert.equal((await api('GET', 'kv/through/the%20proxy?raw')).text, 'yes');

  for (const [own, title] of [['dc1/services/web', 'web'], ['dc1/kv/through/the%20proxy/edit', 'the proxy'], ['dc1/nodes', 'Nodes'], ['dc1/services/web/instances', 'web']]) {
    await page.goto(url + own);
    await page.getByRole('heading', { level: 1, name: title, exact: true }).waitFor();
    assert.ok(page.url().startsWith(`${url}#/dc1/`), page.url());
  }
  await page.reload();
  await page.getByRole('heading', { level: 1, name: 'web' }).waitFor();

  // Another site: no frame, no write.
  await page.goto(`${front}/evil`);
  const frame = page.frames().find((other) => other !== page.mainFrame());
  assert.ok(!frame || (await frame.content()).includes('root') === false, 'the page was framed');
  assert.deepEqual(problems.map((problem) => /frame-ancestors 'none'.*blocked/.test(problem)), [true]);
  problems.length = 0;
  const [answer] = await Promise.all([
    page.waitForResponse((response) => response.request().method() === 'POST'),
    page.evaluate(() => document.forms[0].submit()),
  ]);
  assert.equal(answer.status(), 403);
  assert.match(await answer.text(), /Cross-site writes are refused/);
  server.closeAllConnections();
  server.close();
}
