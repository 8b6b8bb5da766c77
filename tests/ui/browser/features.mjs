// Intentions and prepared queries, where the API has them: made, changed, executed and deleted in the page. Where it
// has not, the page does not offer them and says so to who asks.

export default async function features({ args, assert, tab, visit, see, save, api }) {
  const page = await tab({ token: args.token });
  const press = (name) => page.getByRole('button', { name, exact: true }).click();
  if (!args.has) {
    await visit(page, 'dc1/overview');
    for (const name of ['Intentions', 'Prepared queries']) assert.equal(await page.getByRole('link', { name }).count(), 0, name);
    for (const [path, title] of [['intentions', 'Intentions'], ['queries', 'Prepared queries'], ['queries/new', 'Prepared queries']]) {
      await visit(page, `dc1/${path}`);
      await page.getByRole('heading', { name: title }).waitFor();
      await see(page, 'This agent does not have this feature');
    }
    await page.getByRole('link', { name: 'Services' }).click();
    await page.getByRole('link', { name: 'web', exact: true }).waitFor();
    return;
  }

  await visit(page, 'dc1/overview');
  await page.getByRole('link', { name: 'Intentions' }).click();
  await see(page, 'No intentions');
  await page.getByLabel('Source').fill('web');
  await page.getByLabel('Destination').fill('db');
  await page.getByLabel('Action').selectOption('deny');
  await press('Create');
  await page.locator('.rows').getByText('web → db').waitFor();
  assert.equal(JSON.parse((await api('GET', 'connect/intentions')).text)[0].Action, 'deny');
  await page.locator('.rows').getByRole('button', { name: 'Delete' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Delete' }).click();
  await see(page, 'No intentions');

  await page.getByRole('link', { name: 'Prepared queries' }).click();
  await page.getByRole('link', { name: 'Create' }).click();
  await page.getByLabel('Name', { exact: true }).fill('web-anywhere');
  await page.getByLabel('Service', { exact: true }).fill('web');
  await page.getByLabel('Tags').fill('!old');
  await page.getByLabel('Fail over to that many').fill('2');
  await page.getByLabel('TTL in DNS').fill('10s');
  await press('Save');
  await page.waitForURL(/queries\/[0-9a-f-]{36}$/);
  const id = page.url().split('/').pop();
  await page.getByRole('heading', { name: 'web-anywhere' }).waitFor();
  const stored = async () => JSON.parse((await api('GET', `query/${id}`)).text)[0];
  let query = await stored();
  assert.deepEqual([query.Service.Service, query.Service.OnlyPassing, query.Service.Tags, query.Service.Failover.NearestN, query.DNS.TTL], ['web', true, ['!old'], 2, '10s']);
  await press('Execute');
  await page.getByRole('region', { name: /^Result: 3 instances from dc1$/ }).waitFor();
  await page.getByLabel('Only instances whose checks all pass').uncheck();
  await page.getByLabel('Tags').fill('');
  await save(page);
  await see(page, 'Saved.');
  query = await stored();
  assert.deepEqual([query.Service.OnlyPassing, query.Service.Tags ?? [], query.Service.Failover.NearestN], [false, [], 2]);
  await press('Delete');
  await page.getByRole('dialog').getByRole('button', { name: 'Delete' }).click();
  await see(page, 'No prepared queries');
}
