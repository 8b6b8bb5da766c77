// What the page is for, on a phone and on a laptop: sign in with a token, see which services are unhealthy and why,
// go down to the instance and the output of its check, edit a key, make a policy and a token for a service, and watch
// it all change while a backend starts and stops.

const SIZES = { phone: { width: 390, height: 844 }, laptop: { width: 1280, height: 800 } };

export default async function job({ args, assert, tab, visit, settled, see, save, ask, api }) {
  for (const [size, viewport] of Object.entries(SIZES)) {
    const page = await tab({ viewport, hasTouch: size === 'phone' });
    const press = (name) => page.getByRole('button', { name, exact: true }).click();
    const open = (name) => page.getByRole('navigation', { name: 'Pages' }).getByRole('link', { name, exact: true }).click();
    await ask('stop backend');

    await page.goto(args.url);
    await see(page, 'You are not signed in');
    await settled(page);
    // The first key leads past the navigation.
    await page.keyboard.press('Tab');
    assert.equal(await page.evaluate(() => document.activeElement.className), 'skip');
    await page.keyboard.press('Enter');
    assert.equal(await page.evaluate(() => document.activeElement.tagName), 'H1');
    await page.keyboard.press('Tab');
    assert.equal(await page.evaluate(() => document.activeElement.textContent), 'Sign in');
    await page.getByRole('link', { name: 'Sign in' }).first().click();
    await page.getByLabel('Token').fill('wrong');
    await press('Sign in');
    await see(page, 'does not know this token');
    await page.getByLabel('Token').fill(args.token);
    await press('Sign in');

    // What fails comes first, with the reason; then the service, its instance, its check.
    const failing = page.getByRole('region', { name: 'Failing checks' });
    await failing.getByText('backend answers').waitFor();
    await failing.getByText('connection refused').waitFor();
    const [first, second] = await page.getByRole('heading', { level: 2 }).allTextContents();
    assert.deepEqual([first, second], ['Failing checks', 'Servers']);
    await open('Services');
    await page.getByText('1 critical').waitFor();
    await page.getByRole('link', { name: 'web', exact: true }).click();
    const instance = page.locator('.card[open]');
    await instance.getByText('connection refused').waitFor();
    assert.equal(await instance.count(), 1);
    for (const text of ['rails', 'version', '2.4.1', 'n1']) await instance.getByText(text, { exact: true }).first().waitFor();
    await see(page, 'web.service.consul');

    // A second tab keeps looking at the service while the rest goes on.
    const watching = await tab({ viewport, token: args.token });
    await visit(watching, 'dc1/services/web');
    await watching.locator('header.page .badge.critical').waitFor();

    await open('Key/Value');
    await page.getByRole('link', { name: 'New key' }).click();
    await page.getByLabel('Key', { exact: true }).fill(`job/${size}.json`);
    await page.getByLabel('Value').fill('{"replicas": 2}');
    await press('Save');
    await page.waitForURL(/json$/);
    // Only what is stored has one; until it shows, the editor is still that of the new key.
    await see(page, 'Modify index');
    await see(page, 'Valid JSON');
    await page.getByLabel('Value').fill('{"replicas": 3,}');
    await see(page, 'Not valid JSON');
    await page.getByLabel('Value').fill('{"replicas": 3}');
    await save(page);
    await see(page, 'Saved.');
    assert.equal((await api('GET', `kv/job/${size}.json?raw`)).text, '{"replicas": 3}');

    await open('Policies');
    await page.getByRole('link', { name: 'Create' }).click();
    await page.getByLabel('Name').fill(`web-${size}`);
    await press('for a service');
    await press('Save');
    await page.waitForURL(/policies\/[0-9a-f-]{36}$/);
    await open('Tokens');
    await page.getByRole('link', { name: 'Create' }).click();
    await page.getByLabel('Description').fill(`web on ${size}`);
    await page.getByRole('group', { name: 'Policies' }).getByLabel('Add').selectOption({ label: `web-${size}` });
    await press('Save');
    await page.waitForURL(/tokens\/[0-9a-f-]{36}$/);
    const made = JSON.parse((await api('GET', `acl/token/${page.url().split('/').pop()}`)).text);
    assert.equal(made.Policies[0].Name, `web-${size}`);
    // It may what its policy says.
    const registered = await api('PUT', 'agent/service/register', '{"Name": "web", "ID": "web-made", "Port": 1}', made.SecretID);
    assert.equal(registered.status, 200, registered.text);
    assert.equal((await api('PUT', 'kv/job/other', 'x', made.SecretID)).status, 403);
    await watching.getByText('4 instances').waitFor();
    await api('PUT', 'agent/service/deregister/web-made', undefined, made.SecretID);
    await watching.getByText('3 instances').waitFor();

    // Live, both ways, without a touch.
    await open('Overview');
    await failing.getByText('backend answers').waitFor();
    await ask('start backend');
    await watching.locator('header.page .badge.passing').waitFor();
    await see(page, 'All checks pass');
    await ask('stop backend');
    await watching.locator('header.page .badge.critical').waitFor();
    await failing.getByText('connection refused').waitFor();
    for (const each of [page, watching]) await each.context().close();
  }
}
