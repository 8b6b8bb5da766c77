// Default deny: without a token, with a wrong one, with one that may little, and with one that may all; a
// policy and a token for a service are made and used. The token is nowhere but in the tab's session storage.

export default async function access({ args, assert, tab, visit, see, api }) {
  const page = await tab();
  const press = (name) => page.getByRole('button', { name, exact: true }).click();
  await visit(page, 'dc1/overview');
  await see(page, 'You are not signed in');
  await visit(page, 'dc1/services');
  await see(page, 'No services');
  await see(page, 'only be seen with a token');
  await visit(page, 'dc1/nodes/n1');
  await page.getByRole('heading', { name: 'n1' }).waitFor();
  await see(page, 'only be seen with a token');
  await visit(page, 'dc1/tokens');
  await see(page, 'No permission');
  await page.getByRole('link', { name: 'Create' }).waitFor({ state: 'detached' });

  // Sign in: wrong, then right.
  await page.getByRole('link', { name: 'Sign in' }).first().click();
  await page.getByLabel('Token').fill('00000000-dead-beef-0000-000000000000');
  await page.getByLabel('Token').press('Enter');
  await see(page, 'does not know this token');
  assert.equal(await page.evaluate(() => sessionStorage.length), 0);
  await page.getByLabel('Token').fill(args.token);
  await page.getByLabel('Token').press('Enter');
  await see(page, 'You are signed in');
  await page.getByRole('link', { name: 'Services' }).first().click();
  await page.getByRole('link', { name: 'web', exact: true }).waitFor();
  const kept = await page.evaluate(() => [Object.values(sessionStorage), Object.values(localStorage), document.cookie]);
  assert.deepEqual(kept, [[args.token], [], '']);

  // A policy with an error first, in the servers' words.
  await visit(page, 'dc1/policies');
  await page.getByRole('link', { name: 'Create' }).click();
  await page.getByLabel('Name').fill('web-team');
  await page.getByLabel('Description').fill('The team of web');
  await page.getByLabel('Rules').fill('service "web" { policy = "writ" }');
  await press('Save');
  await page.locator('.notice.wrong').getByText(/[Ii]nvalid .*policy/).waitFor();
  await page.getByLabel('Rules').fill('service_prefix "" { policy = "read" }\nnode_prefix "" { policy = "read" }\nkey_prefix "web/" { policy = "write" }\nkey_prefix "" { policy = "read" }\n');
  await press('Save');
  await see(page, 'Saved.');
  await page.waitForURL(/policies\/[0-9a-f-]{36}$/);
  await page.getByRole('heading', { name: 'web-team' }).waitFor();

  // A role and a token with it.
  await visit(page, 'dc1/roles/new');
  await page.getByLabel('Name').fill('web-role');
  await page.getByRole('group', { name: 'Policies' }).getByLabel('Add').selectOption({ label: 'web-team' });
  await press('Save');
  await page.waitForURL(/roles\/[0-9a-f-]{36}$/);
  await visit(page, 'dc1/tokens/new');
  await page.getByLabel('Description').fill('web of team 7');
  await page.getByRole('group', { name: 'Roles' }).getByLabel('Add').selectOption({ label: 'web-role' });
  await page.getByLabel('Service identities').fill('web');
  await press('Save');
  await page.waitForURL(/tokens\/[0-9a-f-]{36}$/);
  await page.getByText('Accessor ID').waitFor();
  const accessor = page.url().split('/').pop();
  const made = JSON.parse((await api('GET', `acl/token/${accessor}`)).text);
  assert.equal(made.Description, 'web of team 7');
  assert.equal(made.Roles[0].Name, 'web-role');
  assert.equal(made.ServiceIdentities[0].ServiceName, 'web');
  assert.equal(await page.getByText(made.SecretID).count(), 0);
  await press('Show');
  await see(page, made.SecretID);

  // The new token may little, and the page offers no more than that.
  await press('Sign in with this token');
  await visit(page, 'dc1/services');
  await page.getByRole('link', { name: 'web', exact: true }).waitFor();
  await visit(page, 'dc1/tokens');
  await see(page, 'Your token may not see this');
  await visit(page, 'dc1/kv/other');
  await see(page, 'may read this, but not change it');
  assert.equal(await page.getByRole('button', { name: 'Save' }).count(), 0);
  assert.equal(await page.getByRole('button', { name: 'Delete' }).count(), 0);
  await visit(page, 'dc1/kv/web/');
  await page.getByRole('link', { name: 'New key' }).click();
  await page.getByLabel('Key', { exact: true }).fill('greeting');
  await page.getByLabel('Value').fill('hello');
  await press('Save');
  await page.waitForURL(/greeting$/);
  assert.equal((await api('GET', 'kv/web/greeting?raw')).text, 'hello');

  // Until it is known what the token may do nothing is offered, and an agent that cannot tell is not pressed.
  let answered = () => {};
  let asked = 0;
  const held = new Promise((done) => { answered = done; });
  await page.route('**/v1/internal/acl/authorize', async (route) => { asked += 1; await held; await route.abort(); });
  await page.goto('about:blank');
  await visit(page, 'dc1/tokens');
  await see(page, 'Your token may not see this');
  assert.equal(asked, 1);
  assert.equal(await page.getByRole('link', { name: 'Create' }).count(), 0);
  answered();
  await page.waitForTimeout(2000);
  assert.equal(asked, 1);
  assert.equal(await page.getByRole('link', { name: 'Create' }).count(), 0);
  await page.unroute('**/v1/internal/acl/authorize');
  await visit(page, 'dc1/kv/web/');
  await page.getByRole('link', { name: 'New key' }).waitFor();

  // The token is deleted elsewhere: the page says so.
  await api('DELETE', `acl/token/${accessor}`);
  await page.goto('about:blank');
  await visit(page, 'dc1/tokens');
  await see(page, 'does not know this token');
  await page.getByRole('link', { name: 'Signed in' }).click();
  await press('Sign out');
  await see(page, 'You are not signed in');
  assert.equal(await page.evaluate(() => sessionStorage.length), 0);
}
