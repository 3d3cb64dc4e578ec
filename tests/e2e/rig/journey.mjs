// SPDX-License-Identifier: GPL-3.0-or-later
// Logins step by step with a Client, so that a test can stop between two steps and play foul.
import assert from 'node:assert/strict';
import { forms } from './http.mjs';

const crossSite = { 'Sec-Fetch-Site': 'cross-site' };

export const isAcs = (url) => /\/\.sallyport\/saml\/[^/]+\/acs/.test(url);
export const isCallback = (url) => /\/\.sallyport\/oidc\/[^/]+\/callback/.test(url);

const describe = (res) => `${res.status} at ${res.url}: ${res.body.replace(/<style[\s\S]*?<\/style>/g, '').replace(/<[^>]*>/g, ' ').replace(/\s+/g, ' ').slice(0, 400)}`;

// From the app's address to the form that carries the SAMLResponse to our ACS.
export async function samlUntilResponse(client, url, user, password = `${user}-pw`) {
  let res = await client.open(url);
  let form = forms(res).find((f) => isAcs(f.action));
  if (!form) { // not signed in at the provider yet
    const login = forms(res).find((f) => 'username' in f.fields);
    assert.ok(login, `no login form of the SAML provider: ${describe(res)}`);
    res = await client.follow(await client.submit(login, { username: user, password }));
    form = forms(res).find((f) => isAcs(f.action));
  }
  assert.ok(form, `no form with a SAMLResponse: ${describe(res)}`);
  return form;
}

export const samlPost = (client, form, more = {}) => client.submit(form, more, { ...crossSite, Origin: 'null' });

export async function samlLogin(client, url, user) {
  const form = await samlUntilResponse(client, url, user);
  return client.follow(await samlPost(client, form));
}

// From the app's address to the redirect that carries the code to our callback; gives its URL.
export async function oidcUntilCode(client, url, user, password = `${user}-pw`) {
  let res = await client.open(url, isCallback);
  if (!res.location) {
    const login = forms(res).find((f) => 'login' in f.fields);
    assert.ok(login, `no login form of the OpenID provider: ${describe(res)}`);
    res = await client.follow(await client.submit(login, { login: user, password }), isCallback);
  }
  assert.ok(res.location, `no redirect with a code: ${describe(res)}`);
  return res.location;
}

export const oidcCallback = (client, location) => client.get(location, crossSite);

export async function oidcLogin(client, url, user) {
  const location = await oidcUntilCode(client, url, user);
  return client.follow(await oidcCallback(client, location));
}

export function assertStatus(res, status, what = '') {
  assert.equal(res.status, status, `${what} ${describe(res)}`);
  return res;
}

// What the app behind `/echo` says that it received.
export async function echo(client, url, headers) {
  const res = assertStatus(await client.get(url, headers), 200, 'echo');
  return JSON.parse(res.body);
}

const SESSION = '__Host-sallyport';

// The session cookies that a client holds for a host, and those that an answer sets.
export const sessionOf = (client, host) => client.cookies(host).get(SESSION)?.value;
export const setsSession = (res) => res.setCookies.some((line) => line.startsWith(`${SESSION}=`) && !/^[^=]+=(;|$)/.test(line) && !/max-age=0/i.test(line));

// A refusal of a page navigation: the status, a page for people, no session. Gives the text of the page.
export function assertRefused(res, status, what = '') {
  const wanted = [].concat(status);
  assert.ok(wanted.includes(res.status), `${what} wanted ${wanted}, got ${describe(res)}`);
  assert.ok(!setsSession(res), `${what}: a refusal that sets a session`);
  if (res.status >= 400 && res.headers) assert.match(res.headers['content-type'] ?? '', /^text\/html/, `${what}: a page for people`);
  return res.body;
}

// Runs `f`; one of the access lines that it causes has this reason code.
export async function assertReason(gateway, wanted, f) {
  const reasons = [].concat(wanted);
  const { result, lines } = await gateway.accessDuring(f, (line) => reasons.includes(line.reason));
  assert.ok(lines.some((l) => reasons.includes(l.reason)), `wanted reason ${wanted}, the log says ${JSON.stringify(lines)}`);
  return result;
}

// A second browser profile with the same cookies.
export function cloneClient(client) {
  const copy = new client.constructor();
  for (const [host, jar] of client.jar) copy.jar.set(host, new Map(jar));
  return copy;
}
