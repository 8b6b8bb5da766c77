// Three servers and a second datacenter: who leads, the switch between datacenters, the loss of the majority
// and its return.

export default async function cluster({ args, assert, tab, visit, see, save, ask, api }) {
  const page = await tab();
  await visit(page, 'dc1/overview');
  const servers = page.getByRole('region', { name: 'Servers' });
  await servers.locator('.row').nth(2).waitFor();
  assert.equal(await servers.getByText('Leader').count(), 1);
  await page.getByText('may lose 1 server').waitFor();
  await page.getByRole('region', { name: 'Members' }).locator('.row').nth(2).waitFor();
  await page.screenshot({ path: `${args.shots}/${args.prefix}cluster-overview.png` });

  await elsewhere(page, { args, assert, visit, see, api });

  // Without a majority nothing can be read or written, and the page says why.
  await api('PUT', 'kv/here', 'before');
  await visit(page, 'dc1/kv/here');
  await ask('stop two');
  await page.locator('.trouble.leader').waitFor();
  await page.getByLabel('Value').fill('during');
  await page.getByRole('button', { name: 'Save', exact: true }).click();
  await page.locator('.notice.wrong').getByText(/no cluster leader/i).first().waitFor();
  await ask('start two');
  await page.locator('.trouble').waitFor({ state: 'detached' });
  assert.equal(await page.getByLabel('Value').inputValue(), 'during');
  await save(page);
  await see(page, 'Saved.');
  assert.equal((await api('GET', 'kv/here?raw')).text, 'during');
}

// The other datacenter: what it is made of, its nodes, how its services are reached, its keys, and back.
async function elsewhere(page, { args, assert, visit, see, api }) {
  await page.getByLabel('Datacenter').selectOption('dc2');
  await page.waitForURL(/dc2\/overview$/);
  const servers = page.getByRole('region', { name: 'Servers' });
  await servers.getByText('far', { exact: true }).waitFor();
  assert.equal(await servers.locator('.row').count(), 1);
  const members = page.getByRole('region', { name: 'Members' });
  await members.getByRole('link', { name: 'far', exact: true }).waitFor();
  assert.equal(await members.locator('.row').count(), 1);
  await page.screenshot({ path: `${args.shots}/${args.prefix}far-overview.png` });
  await visit(page, 'dc2/services/consul');
  await see(page, 'consul.service.dc2.consul');
  await visit(page, 'dc1/nodes');
  await page.getByRole('link', { name: 'n1', exact: true }).waitFor();
  await page.getByLabel('Datacenter').selectOption('dc2');
  await page.getByRole('link', { name: 'far', exact: true }).waitFor();
  assert.equal(await page.getByRole('link', { name: 'n1', exact: true }).count(), 0);
  await visit(page, 'dc2/kv/?new=1');
  await page.getByLabel('Key', { exact: true }).fill('over-there');
  await page.getByLabel('Value').fill('yes');
  await page.getByRole('button', { name: 'Save' }).click();
  await page.waitForURL(/dc2\/kv\/over-there$/);
  assert.equal((await api('GET', 'kv/over-there?raw&dc=dc2')).text, 'yes');
  assert.equal((await api('GET', 'kv/over-there')).status, 404);
  // It is followed live too.
  await api('PUT', 'kv/over-there?dc=dc2', 'changed');
  await page.waitForFunction(() => document.querySelector('textarea')?.value === 'changed');
  await page.getByLabel('Datacenter').selectOption('dc1');
  await see(page, 'No keys');
}
