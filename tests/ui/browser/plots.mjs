// The plots: round-trip times of a node as bars in their order, and metrics that move on by themselves, keep what was
// seen while another page is looked at, and are named for who cannot see them.

export default async function plots({ args, assert, tab, visit, api }) {
  const page = await tab();
  await visit(page, `dc1/nodes/${args.node}`);
  const bars = page.getByRole('list', { name: 'Round-trip times' }).locator('li');
  await bars.nth(4).waitFor();
  const names = await bars.locator('.name').allTextContents();
  assert.deepEqual(names, [1, 2, 3, 4, 5].map((n) => `edge-${n}`));
  const times = (await bars.locator('.number').allTextContents()).map(parseFloat);
  const widths = await bars.locator('rect').evaluateAll((all) => all.map((rect) => Number(rect.getAttribute('width'))));
  times.forEach((time, n) => {
    assert.ok(time > n && time < n + 3, `${times} ms`);
    assert.ok(Math.abs(widths[n] - (100 * time) / times[4]) < 1, `${widths}`);
  });

  await visit(page, 'dc1/metrics');
  const figure = (name) => page.locator('figure').filter({ hasText: name });
  const points = async (name) => (await figure(name).locator('.curve').getAttribute('d')).match(/[ML]/g).length;
  const names8 = ['HTTP requests', 'HTTP time', 'Calls to servers', 'Raft commit time', 'Raft entries applied', 'Gossip sent', 'Gossip received', 'Memory in use'];
  for (const name of names8) {
    await figure(name).waitFor();
    assert.match(await figure(name).getByRole('img').getAttribute('aria-label'), new RegExp(`^${name} over the last ten minutes, now `));
  }
  // Something to be seen: requests and writes until an interval has them.
  const moved = async () => {
    for (let n = 0; n < 5; n += 1) await api('PUT', 'kv/plotted', `${n}`);
    const values = await Promise.all(['HTTP requests', 'Raft commit time', 'Raft entries applied', 'Memory in use'].map((name) => figure(name).locator('.value').textContent()));
    return values.every((value) => parseFloat(value) > 0) && await points('Memory in use') >= 2;
  };
  const until = Date.now() + 90_000;
  while (!await moved()) {
    assert.ok(Date.now() < until, 'the plots stand still');
    await page.waitForTimeout(500);
  }
  const before = await points('Memory in use');
  await visit(page, 'dc1/kv');
  await page.getByRole('link', { name: 'plotted' }).waitFor();
  await visit(page, 'dc1/metrics');
  assert.ok(await points('Memory in use') >= before);
  await page.getByLabel('Search metrics').fill('raft.commitTime');
  await page.locator('dl.facts dt').getByText('raft.commitTime').first().waitFor();
  assert.ok(await page.locator('dl.facts dt').count() <= 2);
  await page.screenshot({ path: `${args.shots}/metrics-moving.png` });
}
