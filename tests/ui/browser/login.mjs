// Signing in through an auth method: the method and its binding rule are made in the page, a JWT is turned down for
// what is wrong with it, a good one opens what the rule gives, and signing out destroys the token it bought.

import { generateKeyPairSync, sign } from 'node:crypto';

const encoded = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');

function jwt(key, claims) {
  const now = Math.floor(Date.now() / 1000);
  const text = `${encoded({ alg: 'ES256', typ: 'JWT' })}.${encoded({ iat: now - 5, nbf: now - 5, exp: now + 600, ...claims })}`;
  return `${text}.${sign('sha256', Buffer.from(text), { key, dsaEncoding: 'ieee-p1363' }).toString('base64url')}`;
}

export default async function login({ args, assert, tab, visit, see, api }) {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const other = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
  const pem = publicKey.export({ type: 'spki', format: 'pem' }).trim();

  // The method, wrong at first.
  const admin = await tab({ token: args.token });
  const press = (page, name) => page.getByRole('button', { name, exact: true }).click();
  await visit(admin, 'dc1/auth-methods');
  await admin.getByRole('link', { name: 'Create' }).click();
  await admin.getByLabel('Name', { exact: true }).fill('staff');
  await admin.getByLabel('Name to show').fill('Staff of the works');
  await admin.getByLabel('Tokens expire after').fill('1h');
  await press(admin, 'Save');
  await admin.locator('.notice.wrong').getByText('exactly one of').waitFor();
  await admin.getByLabel('Public keys').fill(pem);
  await admin.getByLabel('Algorithms').fill('ES256');
  await admin.getByLabel('Issuer').fill('works');
  await admin.getByLabel('Audiences').fill('consul');
  await admin.getByLabel('Claims', { exact: true }).fill('team team\nnickname user');
  await admin.getByLabel('Claims that are lists').fill('groups groups');
  await press(admin, 'Save');
  await admin.waitForURL(/auth-methods\/staff$/);
  const made = JSON.parse((await api('GET', 'acl/auth-method/staff')).text);
  assert.equal(made.MaxTokenTTL, '1h0m0s');
  assert.deepEqual(made.Config, {
    JWTValidationPubKeys: [pem], JWTSupportedAlgs: ['ES256'], BoundIssuer: 'works', BoundAudiences: ['consul'],
    ClaimMappings: { team: 'team', nickname: 'user' }, ListClaimMappings: { groups: 'groups' },
  });

  // Its rule, changed once.
  const rule = admin.getByRole('form');
  await see(admin, 'No binding rules');
  await admin.getByLabel('Bound name').fill('${value.team}');
  await admin.getByLabel('When').fill('"ops" in list.groups and');
  await press(admin, 'Create');
  await admin.locator('.notice.wrong').getByText(/Selector/).waitFor();
  await admin.getByLabel('When').fill('"ops" in list.groups');
  await press(admin, 'Create');
  const card = admin.locator('.cards .card');
  await card.getByText('"ops" in list.groups').waitFor();
  await card.getByRole('button', { name: 'Edit' }).click();
  await admin.getByLabel('Description of the rule').fill('Who operates');
  await rule.getByRole('button', { name: 'Save' }).click();
  await card.getByText('Who operates').waitFor();
  const rules = JSON.parse((await api('GET', 'acl/binding-rules?authmethod=staff')).text);
  assert.deepEqual(rules.map((r) => [r.BindType, r.BindName, r.Selector, r.Description]), [['service', '${value.team}', '"ops" in list.groups', 'Who operates']]);
  await visit(admin, 'dc1/auth-methods');
  await see(admin, 'Staff of the works');

  // What is wrong with a bearer token is said, and nothing is kept.
  const page = await tab();
  await visit(page, 'dc1/sign-in');
  await page.getByLabel('Sign in with').selectOption({ label: 'Auth method' });
  const enter = async (method, bearer) => {
    await page.getByLabel('Auth method').fill(method);
    await page.getByLabel('Bearer token').fill(bearer);
    await press(page, 'Sign in');
  };
  const claims = { iss: 'works', aud: ['consul'], team: 'web', nickname: 'jo', groups: ['ops'] };
  await enter('nobody', jwt(privateKey, claims));
  await see(page, 'no auth method of this name');
  await enter('staff', 'no token at all');
  await see(page, 'compact JWS format must have three parts');
  await enter('staff', jwt(other, claims));
  await see(page, 'no known key successfully validated the token signature');
  await enter('staff', jwt(privateKey, { ...claims, iss: 'elsewhere' }));
  await see(page, 'invalid issuer');
  await enter('staff', jwt(privateKey, { ...claims, groups: ['guests'] }));
  await see(page, 'no binding rule of this auth method');
  assert.equal(await page.evaluate(() => sessionStorage.length), 0);

  // A good one, at an address that names the method.
  await visit(page, 'dc1/sign-in?method=staff');
  await page.reload();
  await page.getByLabel('Auth method').waitFor();
  assert.equal(await page.getByLabel('Auth method').inputValue(), 'staff');
  await page.getByLabel('Bearer token').fill(jwt(privateKey, claims));
  await press(page, 'Sign in');
  await see(page, 'You are signed in');
  const secret = await page.evaluate(() => Object.values(sessionStorage));
  assert.equal(secret.length, 1);
  assert.equal(await page.evaluate(() => document.documentElement.outerHTML.includes('eyJ')), false);
  const self = JSON.parse((await api('GET', 'acl/token/self', undefined, secret[0])).text);
  assert.equal(self.AuthMethod, 'staff');
  assert.equal(self.ServiceIdentities[0].ServiceName, 'web');
  await visit(page, 'dc1/services');
  await page.getByRole('link', { name: 'web', exact: true }).waitFor();
  await visit(page, 'dc1/kv');
  await page.getByRole('heading', { name: 'Key/Value' }).waitFor();
  assert.equal(await page.getByRole('link', { name: 'New key' }).count(), 0);

  // Signing out destroys it; a failure first, which leaves the choice.
  await page.getByRole('link', { name: 'Signed in' }).click();
  await see(page, 'Signing out destroys it');
  await page.screenshot({ path: `${args.shots}/${args.prefix}signed-in.png` });
  await page.route('**/v1/acl/logout', (route) => route.fulfill({ status: 500, body: 'no good moment' }));
  await press(page, 'Sign out');
  await see(page, 'no good moment');
  await page.getByRole('button', { name: 'Only forget it in this tab' }).waitFor();
  assert.equal((await api('GET', 'acl/token/self', undefined, secret[0])).status, 200);
  await page.unroute('**/v1/acl/logout');
  await press(page, 'Sign out');
  await see(page, 'the token is destroyed');
  await see(page, 'You are not signed in');
  assert.equal(await page.evaluate(() => sessionStorage.length), 0);
  assert.equal((await api('GET', 'acl/token/self', undefined, secret[0])).status, 403);

  // The rule and the method go.
  await visit(admin, 'dc1/auth-methods/staff');
  await card.getByRole('button', { name: 'Delete' }).click();
  await admin.getByRole('dialog').getByRole('button', { name: 'Delete' }).click();
  await see(admin, 'No binding rules');
  await admin.locator('header.page').getByRole('button', { name: 'Delete' }).click();
  await admin.getByRole('dialog').getByRole('button', { name: 'Delete' }).click();
  await see(admin, 'No auth methods');
  assert.equal((await api('GET', 'acl/auth-method/staff')).status, 404);
}
