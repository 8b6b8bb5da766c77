// What is seen follows what happens: a backend stops and comes back, keys and nodes appear, the agent goes
// away and returns; a page that is left ends its queries.

export default async function live({ args, assert, tab, visit, see, ask, api, browser }) {
  const { token } = args;
  const overview = await tab({ token });
  await visit(overview, 'dc1/overview');
  await see(overview, 'All checks pass');
  const service = await tab({ token, viewport: { width: 390, height: 844 } });
  await visit(service, 'dc1/services');
  await service.getByRole('link', { name: 'web' }).click();
  await service.locator('header.page .badge.passing').waitFor();

  await ask('stop backend');
  await overview.getByText('backend answers').waitFor();
  await overview.locator('.tile.critical').first().waitFor();
  await service.locator('header.page .badge.critical').waitFor();
  // The instance opened by itself: its reason is there without a click.
  await service.getByText('connection refused').first().waitFor();
  await service.getByRole('link', { name: 'Services' }).first().click();
  await service.getByText('1 critical').waitFor();
  // The slash leads to the search field.
  await service.keyboard.press('/');
  await service.keyboard.type('nothing like it');
  await see(service, 'Nothing fits');
  await service.getByLabel('Search by name or tag').fill('WE');
  await service.getByLabel('Health').selectOption('critical');
  await service.getByRole('link', { name: 'web' }).waitFor();

  await ask('start backend');
  await see(overview, 'All checks pass');
  await see(service, 'Nothing fits');

  // A list of nodes and one of keys grow while they are looked at.
  await visit(service, 'dc1/nodes');
  await api('PUT', 'catalog/register', '{"Node": "edge-9", "Address": "10.0.0.9"}');
  await service.getByRole('link', { name: 'edge-9' }).waitFor();
  await visit(service, 'dc1/kv');
  await api('PUT', 'kv/new-one', 'x');
  await service.getByRole('link', { name: 'new-one' }).waitFor();

  // Sessions of a node, invalidated from here.
  const { ID } = JSON.parse((await api('PUT', 'session/create', '{"Name": "to-end", "Behavior": "delete"}')).text);
  await visit(service, `dc1/nodes/${args.node}`);
  await service.getByText(ID).waitFor();
  await service.getByRole('button', { name: 'Invalidate' }).click();
  await service.getByRole('dialog').getByRole('button', { name: 'Invalidate' }).click();
  await see(service, 'No sessions');
  assert.equal((await api('GET', `session/info/${ID}`)).text.trim(), '[]');

  // An event is fired and arrives.
  await visit(service, 'dc1/events');
  await service.getByLabel('Name').fill('deploy');
  await service.getByLabel('Payload').fill('v1');
  await service.getByRole('button', { name: 'Fire an event' }).click();
  await service.locator('.cards').getByText('deploy').waitFor();

  await ask('kill agent');
  for (const page of [overview, service]) await see(page, 'Connection lost');
  await ask('start agent');
  for (const page of [overview, service]) await page.locator('.trouble').waitFor({ state: 'detached' });
  await visit(overview, 'dc1/services/web');
  await overview.locator('header.page .badge.passing').waitFor();

  // A page that was left asks nothing more.
  await visit(overview, 'dc1/events');
  let asked = 0;
  overview.on('request', (request) => { if (request.url().includes('/health/service/web')) asked += 1; });
  await api('PUT', 'agent/service/register', '{"Name": "web", "Port": 2}');
  await api('PUT', 'agent/service/register', '{"Name": "web", "Port": 3}');
  await overview.waitForTimeout(1000);
  assert.equal(asked, 0);
  assert.ok(browser.isConnected());
}
